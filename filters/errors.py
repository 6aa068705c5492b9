"""What can go wrong in a filter, cut by what the caller can do.

- :class:`FilterError`
    - :class:`WeightsError`: a file is missing or is not the one that was trained; ``make setup`` or another path
      mends it.
    - :class:`PolicyError`: a policy cannot be used as written; the message names the key and what it may be.
"""


class FilterError(Exception):
    """Root of the errors of ``filters``."""


class WeightsError(FilterError):
    """Weights are missing, or their sha256 is not the expected one."""


class PolicyError(FilterError):
    """A policy file is not valid."""
