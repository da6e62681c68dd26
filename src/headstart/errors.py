"""What a user can get wrong. A program prints one of these as plain text, without a traceback, and exits with 2."""


class HeadstartError(Exception):
    """Something that the user can mend; the message says what was found, where, and what to do."""


class SettingsError(HeadstartError):
    """A flag, or a key of a TOML file, that does not fit."""


class DataError(HeadstartError):
    """Images, folders or a CSV that do not make a data set."""


class WeightsError(HeadstartError):
    """Weights that are not there, or are not a ResNet50's."""


class CacheError(HeadstartError):
    """A feature cache that cannot be used as asked."""


class RecipeMismatch(CacheError):
    """The cache was made by another recipe than the one asked for."""


class CacheLocked(CacheError):
    """Another process is filling the cache."""


class CacheDamaged(CacheError):
    """Bytes in the cache are not those that were written."""


class RunError(HeadstartError):
    """A run folder that is missing, incomplete or in the way."""


class ExportFailed(HeadstartError):
    """The exported model does not do what the run does."""


class TrainingFailed(HeadstartError):
    """Training came to nothing: the loss is not a number any more."""


class ProcessLost(HeadstartError):
    """Another of the processes that work together has ended too early."""


class DataWarning(UserWarning):
    """Something in the data that training survives, but that a person should know."""
