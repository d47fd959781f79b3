"""Errors that a person can act on: every message names a cause and a remedy."""


class InputError(ValueError):
    """What was given cannot be used. The command line prints its text and exits with 2."""


class OutputError(OSError):
    """What was asked for cannot be written. The command line prints its text and exits with 2."""


class Cancelled(Exception):
    """Somebody asked for the work to stop. What was finished stays and can be resumed."""
