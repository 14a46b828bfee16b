"""The one exception that users see."""


class UserError(Exception):
    """Something that the user can mend: one plain sentence naming the option or file, what is wrong and what to do.

    The command line prints it without a stack trace and exits with code 2.
    """
