"""Errors that a user can cause. A program prints them as plain text, without a traceback, and exits with code 2."""


class HeadstartError(Exception):
    """An error that the user can correct; the message says what was found, where, and what to do."""


class SettingsError(HeadstartError):
    """A flag, or a key of a TOML file, that is unknown or out of range."""


class DataError(HeadstartError):
    """Images, folders or a CSV that cannot be used as a data set."""


class WeightsError(HeadstartError):
    """Weights that are missing, or not a ResNet50's."""


class CacheError(HeadstartError):
    """A feature cache that cannot be used as asked."""


class RecipeMismatch(CacheError):
    """The cache was made by another recipe than the one asked for."""


class CacheLocked(CacheError):
    """Another process is filling the cache."""


class CacheDamaged(CacheError):
    """Bytes in the cache are not those that were written."""


class RunError(HeadstartError):
    """A run folder that is missing, incomplete, or holds another run."""


class ExportFailed(HeadstartError):
    """The exported model does not predict what the run predicts."""


class TrainingFailed(HeadstartError):
    """Training failed: the loss became NaN or infinite."""


class ProcessLost(HeadstartError):
    """Another of the processes that work together has ended too early."""


class DataWarning(UserWarning):
    """A problem in the data that does not stop the program, but that a person should know."""
