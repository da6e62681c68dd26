"""The programs as functions, with the same settings and results. torch, which takes seconds, loads when needed."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.settings import (
    CompareConfig,
    CrossValidationConfig,
    ExportConfig,
    ExtractConfig,
    FinetuneConfig,
    HeadConfig,
    LearningCurveConfig,
    PredictConfig,
    ProbeConfig,
    SweepConfig,
    each_backbone,
    each_seed,
)
from headstart.settings.base import refuse
from headstart.settings.from_python import config_from, names_in, with_settings

if TYPE_CHECKING:
    from headstart.cache.feature_cache import FeatureCache


@with_settings(ExtractConfig)
def extract(data: "str | Path", **settings: Any) -> "FeatureCache":
    """Runs every image through a frozen backbone, once: `make extract`.

    Args:
        data: a folder `<class>/*.jpg` or `{train,val,test}/<class>/*.jpg`, or a .csv with path,label[,split].
        settings: the flags of `make extract`.

    Returns:
        The cache, finished and open: N rows of D features, 2048 of ResNet50. Images that could not be read have no
        features; their `status` says so.

    Raises:
        SettingsError: a setting is unknown or out of range.
        DataError, BackboneError: the data set, or the net or its features, cannot be used.
        WeightsError: the weights cannot be found or downloaded.
        RecipeMismatch: the cache was made by another recipe.
        CacheError: the cache cannot be used, another process is filling it, or the disk is full.
    """
    config = config_from(ExtractConfig, data=data, **settings)
    from headstart.extraction import updating

    return updating.bring_up_to_date(config).cache


@with_settings(ExtractConfig)
def extract_each(data: "str | Path", backbone: "Sequence[str]", **settings: Any) -> "list[FeatureCache]":
    """Fills the caches of several backbones in one pass, which reads and decodes each image once.

    Args:
        data: as for `extract`.
        backbone: names, each as `extract` takes them: `["resnet50", "efficientnet_b0", "timm:resnet26d"]`.
        settings: the flags of `make extract`, for all of them; `cache` must be left out.

    Returns:
        The caches, in the order of the names.

    Errors are those of `extract`.
    """
    names = names_in(backbone)
    if not names or not names.split():
        refuse("backbone", backbone, "at least one name")
    config = config_from(ExtractConfig, data=data, **settings)
    from headstart.extraction import updating

    each = each_backbone(replace(config, backbone=names))
    return [report.cache for report in updating.bring_all_up_to_date(each)]


@with_settings(HeadConfig)
def train_head(data: "FeatureCache | str | Path | None" = None, **settings: Any) -> Path:
    """Trains an MLP head on cached features and tests it: `make train-head` without the extraction.

    Args:
        data: the data set whose cache is used, or an open cache; or give `cache="photos.h5"`.
        settings: the flags of `make train-head`.

    Returns:
        The folder of the run, for `Classifier.load`; with several `seeds` that of the best by validation.

    Raises:
        SettingsError: a setting is unknown or out of range.
        CacheError: the cache is missing or damaged, or no training row is finished.
        RunError: the folder holds another run or cannot be written.
        TrainingFailed: the loss became infinite or NaN.
    """
    config = config_from(HeadConfig, data=data, **settings)
    from headstart.heads import run
    from headstart.runs.method import best_of

    return best_of([run.train(each) for each in each_seed(config)])


@with_settings(SweepConfig)
def sweep(data: "FeatureCache | str | Path | None" = None, **settings: Any) -> Path:
    """Trains a head for every combination of the values given and keeps the best by validation: `make sweep`.

    `hidden=[(), (256,), (512, 256)]` are three shapes: without a hidden layer, with one, with two.
    Args:
        data: as for `train_head`.
        settings: the flags of `make sweep`.

    Returns:
        The folder of the run, as `train_head` does; its sweep.csv has a line for each head.

    Errors are those of `train_head`; TrainingFailed: there is no validation image, or all heads failed.
    """
    config = config_from(SweepConfig, data=data, **settings)
    from headstart.heads import programs
    from headstart.runs.method import best_of

    return best_of([programs.sweep(each) for each in each_seed(config)])


@with_settings(ProbeConfig)
def probe(data: "FeatureCache | str | Path | None" = None, **settings: Any) -> "dict[str, Path]":
    """Measures features by logistic regression, ridge regression and nearest neighbours: `make probe`.

    Args:
        data: as for `train_head`.
        settings: the flags of `make probe`.

    Returns:
        The folder of the run of each method.

    Errors are those of `train_head`; TrainingFailed: there is no validation image.
    """
    config = config_from(ProbeConfig, data=data, **settings)
    from headstart.probes import run

    return run.run(config)


@with_settings(LearningCurveConfig)
def learning_curve(data: "FeatureCache | str | Path | None" = None, **settings: Any) -> Path:
    """Trains heads on growing parts of the training images: `make learning-curve`.

    Args:
        data: as for `train_head`.
        settings: the flags of `make learning-curve`.

    Returns:
        The folder with learning_curve.csv and learning_curve.png.

    Errors are those of `train_head`.
    """
    config = config_from(LearningCurveConfig, data=data, **settings)
    from headstart.heads import programs

    return programs.learning_curve(config)


@with_settings(CrossValidationConfig)
def cross_validate(data: "FeatureCache | str | Path | None" = None, **settings: Any) -> "list[dict[str, Any]]":
    """Tests heads and probes on all images in turn, by repeated cross-validation: `make cv`.

    Args:
        data: as for `train_head`.
        settings: the flags of `make cv`.

    Returns:
        An entry for each method, as in cv.json: figures of all images, and the points of accuracy to the first
        method, with 95% intervals.

    Errors are those of `train_head`; SettingsError: there are too few images or groups for so many folds.
    """
    config = config_from(CrossValidationConfig, data=data, **settings)
    from headstart.crossvalidation import run

    return run.cross_validate(config)


@with_settings(FinetuneConfig)
def finetune(data: "str | Path", **settings: Any) -> Path:
    """Trains a whole net end to end and tests it: `make finetune`.

    Args:
        data: as for `extract`.
        settings: the flags of `make finetune`.

    Returns:
        The folder of the run, as `train_head` does.

    Raises:
        SettingsError, DataError, BackboneError, WeightsError: as in `extract`.
        RunError: the folder holds another run or cannot be written, or the head to start from does not fit.
        TrainingFailed: the loss became infinite or NaN.
    """
    config = config_from(FinetuneConfig, data=data, **settings)
    from headstart.finetuning import run
    from headstart.runs.method import best_of

    return best_of(run.train_each(config))


@with_settings(CompareConfig)
def compare(data: "str | Path | None" = None, **settings: Any) -> "list[dict[str, Any]]":
    """Puts all runs of a data set side by side, and writes compare.json and report.html beside them: `make compare`.

    Args:
        data: the data set whose runs are meant; or give `runs="data/runs/photos"`.
        settings: the flags of the program.

    Returns:
        An entry for each run, the best by validation first: name, kind, accuracies, costs, and the difference to the
        best run on frozen features. compare.json holds the same under `standings`.

    Raises:
        SettingsError: neither `data` nor `runs` is given.
        RunError, CacheError: there is no finished run, or a run or the cache cannot be read.
    """
    config = config_from(CompareConfig, data=data, **settings)
    from headstart.report import writing

    rows: list[dict[str, Any]] = json.loads(writing.compare(config).read_text(encoding="utf-8"))["standings"]
    return rows


@with_settings(PredictConfig)
def predict(run: "str | Path", images: "str | Path | None" = None, **settings: Any) -> Path:
    """Predicts the classes of new images, or of the rows of a cache, with a run: `make predict`.

    `Classifier.load(run).predict(files)` gives arrays instead.
    Args:
        run: the folder of the run; `data/runs/<data set>/best` is the best by validation.
        images: a folder, a pattern such as `new/**/*.jpg`, a .csv with a column path, or one image; or give `cache=`.
        settings: the flags of `make predict`.

    Returns:
        The CSV: path, predicted, probability, the next classes, and why an image is unreadable.

    Raises:
        SettingsError, DataError: a setting is unknown or out of range; there are no such images.
        RunError: the run is missing or has no weights, or the CSV cannot be written.
        WeightsError, CacheError: the weights of the backbone or the cache cannot be used.
    """
    config = config_from(PredictConfig, run=run, images=images, **settings)
    from headstart.prediction import programs

    return programs.predict(config)[0]


@with_settings(ExportConfig)
def export(run: "str | Path", **settings: Any) -> Path:
    """Writes a run as one file that other programs run without this package: `make export`.

    Args:
        run: as for `predict`.
        settings: the flags of `make export`.

    Returns:
        The file of the model; model_card.md beside it says how to serve it.

    Raises:
        SettingsError: a setting is unknown, or a package is missing.
        RunError, WeightsError, DataError: the run, its weights, or the images for the check cannot be used.
        ExportFailed: the exported model does not predict what the run predicts.
    """
    config = config_from(ExportConfig, run=run, **settings)
    from headstart.prediction import programs

    return programs.export(config)
