"""What can go wrong in the learner, cut by what the caller can do.

- :class:`LearnerError`
    - :class:`StoreError`: Redis could not be reached or answered an error; retry, or serve by policy.
        - :class:`StoreVersionError`: the server is older than the data; start the newer one.
    - :class:`DataFolderError`: the data folder is in use, not writable or full, or too many files are open.
    - :class:`ConflictError`: the thing has changed meanwhile (state, epoch, lease); look again, then decide again.
    - :class:`UnknownIdError`: no sample, version or update has this id.
    - :class:`CapacityError`: a stated cap is reached; raise the setting, or remove something.
    - :class:`CorruptError`: stored bytes are not what their name says; choose another target.
"""


class LearnerError(Exception):
    """Root of the errors of ``learner``."""


class StoreError(LearnerError):
    """Redis is out of reach or refused the call."""


class StoreVersionError(StoreError):
    """The redis-server is older than the one that wrote the data."""


class DataFolderError(LearnerError):
    """The data folder is in use by another process, not writable or full, or the process has too many files open."""


class ConflictError(LearnerError):
    """Somebody else changed the thing first."""


class UnknownIdError(LearnerError):
    """Nothing has this id."""


class CapacityError(LearnerError):
    """A stated cap (rows of a bot, ...) is reached."""


class CorruptError(LearnerError):
    """Stored bytes do not match their content address."""
