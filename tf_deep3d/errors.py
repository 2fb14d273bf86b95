"""The mistakes of users: what they gave cannot be used."""


class InputError(ValueError):
    """What a user gave cannot be used: a file, a setting, an argument.

    The message is one line that says what is asked for and what was received. Commands print it and exit with 1. A bare
    `ValueError` is never a user's mistake but ours, and keeps its traceback.
    """
