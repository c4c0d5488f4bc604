"""The error of a contender without figures."""


class NotRun(Exception):
    """A contender cannot be measured; the message gives the reason."""
