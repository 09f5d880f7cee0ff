"""What can go wrong with the local stack in a way that its user can mend."""


class LocalStackError(Exception):
    """The message is for the user: one line that says what is wrong and, where there is one, the way out."""
