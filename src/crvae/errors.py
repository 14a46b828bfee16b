"""The one exception that users see."""


class UserError(Exception):
    """Something that the user can mend: one plain sentence naming the option or file, what is wrong and what to do.

    The command line prints it without a stack trace and exits with code 2.
    """


def brief(error: BaseException | str) -> str:
    """The first line of a message for use in a sentence, without anything that a terminal would obey; the kind if empty."""
    lines = str(error).splitlines()
    text = lines[0] if lines else type(error).__name__
    return "".join(character if character.isprintable() else "?" for character in text)[:200]
