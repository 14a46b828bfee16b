"""The one exception that users see, and what its sentences are made of."""

import difflib
from collections.abc import Collection, Iterable


class UserError(Exception):
    """An error that the user can fix. Its message is one line that names the option or file, what is wrong and what to do.

    The command line prints it without a stack trace and exits with code 2.
    """


def brief(error: BaseException | str) -> str:
    """The first line of a message for use in a sentence, without anything that a terminal would obey; the kind if empty."""
    lines = str(error).strip().splitlines()
    text = lines[0] if lines else type(error).__name__
    return "".join(character if character.isprintable() else "?" for character in text)[:200]


def reason(error: OSError) -> str:
    """Why the system refused, without the name of the file, which the sentence around it has."""
    return brief(error.strerror or error)


def check_word(option: str, value: object, words: Collection[str]) -> None:
    """Raises UserError if the value of `option` is not one of `words`."""
    if not isinstance(value, str) or value not in words:
        raise UserError(f"{option} must be {' or '.join(words)}, got {value!r}{near(str(value), words)}")


def near(word: str, known: Iterable[str]) -> str:
    """` (did you mean 'sample'?)` where one of the `known` words is close to `word`, else nothing."""
    found = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {found[0]!r}?)" if found else ""
