"""What a user may have done wrong. The command line prints these as one message and exits with code 2 or 1."""


class NeuropilError(ValueError):
    """Wrong input: the message says what was expected, what came, in which file or key, and what to do."""


class Unfinished(RuntimeError):
    """Work that could not be finished, for reasons that the message names; the command line exits with code 1."""
