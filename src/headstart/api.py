"""The programs as functions, with the same settings and results. torch, which takes seconds, loads when needed."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

from headstart.errors import SettingsError
from headstart.settings import ExtractConfig, FinetuneConfig, HeadConfig

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from headstart.cache.feature_cache import FeatureCache


def extract(data: str | Path, **settings: Any) -> "FeatureCache":
    """Runs every image through a frozen ResNet50, once: `make extract`.

    Args:
        data: a folder `<class>/*.jpg` or `{train,val,test}/<class>/*.jpg`, or a .csv with path,label[,split].
        settings: the flags of `make extract`, such as `cache="photos.h5"`, `image_px=160`, `weights="random"`.

    Returns:
        The cache, finished and open: N rows of 2048 features. Images that could not be read have no features; their
        `status` says so.

    Raises:
        SettingsError: a setting is unknown or out of range.
        DataError: the data set cannot be used.
        WeightsError: the weights cannot be found or downloaded.
        RecipeMismatch: the cache was made by another recipe.
        CacheError: the cache cannot be used, another process is filling it, or the disk is full.
    """
    config = _config(ExtractConfig, data=str(data), **settings)
    from headstart.extraction import updating

    return updating.bring_up_to_date(config).cache


def train_head(data: str | Path | None = None, **settings: Any) -> Path:
    """Trains an MLP head on cached features and tests it: `make train-head` without the extraction.

    Args:
        data: the data set whose cache is used; or give `cache="photos.h5"`.
        settings: the flags of `make train-head`, such as `hidden=(512, 256)`, `lr=3e-4`, `epochs=20`.

    Returns:
        The folder of the run, for `Classifier.load`.

    Raises:
        SettingsError: a setting is unknown or out of range.
        CacheError: the cache is missing or damaged, or no training row is finished.
        RunError: the folder holds another run or cannot be written.
        TrainingFailed: the loss became infinite or NaN.
    """
    config = _config(HeadConfig, data=None if data is None else str(data), **settings)
    from headstart.heads import run

    return run.train(config)


def finetune(data: str | Path, **settings: Any) -> Path:
    """Trains a whole ResNet50 end to end and tests it: `make finetune`.

    Args:
        data: as for `extract`.
        settings: the flags of `make finetune`, such as `epochs=5`, `train_from="layer4"`.

    Returns:
        The folder of the run, for `Classifier.load`.

    Raises:
        SettingsError: a setting is unknown or out of range.
        DataError: the data set cannot be used.
        WeightsError: the weights cannot be found or downloaded.
        RunError: the folder holds another run or cannot be written, or the head to start from does not fit.
        TrainingFailed: the loss became infinite or NaN.
    """
    config = _config(FinetuneConfig, data=str(data), **settings)
    from headstart.finetuning import run

    return run.train(config)


def _config(config_type: type[Any], **settings: Any) -> Any:
    types = get_type_hints(config_type)
    del types["config"]
    if unknown := sorted(settings.keys() - types.keys()):
        raise SettingsError(f"There is no setting {', '.join(unknown)}. There are {', '.join(types)}.")
    try:
        return config_type(**{name: _as_declared(value, types[name]) for name, value in settings.items()})
    except TypeError as error:
        given = ", ".join(f"{name}={value!r}" for name, value in settings.items())
        raise SettingsError(f"One of {given} is of the wrong type ({error}).") from None


def _as_declared(value: Any, declared: Any) -> Any:
    """Converts what the command line would: text to a path, 0 to 0.0, a list or a number to a tuple."""
    if isinstance(value, str) and Path in get_args(declared):
        return Path(value)
    if get_origin(declared) is tuple:
        return tuple(value) if isinstance(value, list | tuple) else (value,)
    return float(value) if declared is float and isinstance(value, int) else value


def load(cache: str | Path) -> "dict[str, tuple[NDArray[np.float32], NDArray[np.str_]]]":
    """Features and class names of every split: `X, y = headstart.load("data/features/photos.h5")["train"]`.

    Args:
        cache: the HDF5 file.

    Returns:
        For train, val and test: X (n, D), and y (n,), the name of each image's class. Images without a label or without
        features are left out.

    Raises:
        CacheError: there is no such cache.
        CacheDamaged: a row is not what was written.
    """
    import numpy as np

    from headstart.cache.feature_cache import FeatureCache
    from headstart.datasets.manifest import SPLITS

    opened = FeatureCache(Path(cache))
    features, names = opened.read(), np.array(opened.manifest.classes)
    arrays = {}
    for split in SPLITS:
        rows = opened.rows(split)
        arrays[split] = features[rows].astype(np.float32), names[opened.manifest.labels[rows]]
    return arrays
