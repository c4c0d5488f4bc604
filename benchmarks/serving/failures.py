"""Why there are no figures."""


class NotRun(Exception):
    """A contender cannot be measured. The message says why."""
