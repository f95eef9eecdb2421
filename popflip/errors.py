"""Ways a run can end that are not bad input."""


class Difference(Exception):
    """A device did not do what the golden model did. The message names the first place."""


class Interrupted(Exception):
    """The user stopped the run. The message says how far it had come."""
