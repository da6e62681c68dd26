"""Every setting of every program, once: name, range, unit, default.

It loads nothing slow: `--help` must answer at once.

    base.py       what the settings of several programs share: checks, folders, which cache or data set is meant
    extract.py    prepare data, extract features, look into a cache
    heads.py      head, sweep, probe, learning curve
    finetune.py   fine-tuning
    runs.py       compare, predict, export
    benchmark.py  the benchmark

Imports nothing of the package but `errors`, and no numpy, torch, h5py. Unlike the other folders it hands its names on,
since nearly every module needs one of them.
"""

from headstart.settings.base import (
    FEATURES_FOLDER,
    PLACES,
    RUNS_FOLDER,
    Device,
    ViewKind,
    Views,
    ViewSplits,
    cache_path,
    data_of,
    dataset_name,
    require,
    run_of,
)
from headstart.settings.benchmark import BenchmarkConfig
from headstart.settings.extract import ExtractConfig, InspectConfig, PrepareConfig
from headstart.settings.finetune import FinetuneConfig
from headstart.settings.heads import FEWEST_SETTINGS, HeadConfig, LearningCurveConfig, ProbeConfig, SweepConfig
from headstart.settings.runs import CompareConfig, ExportConfig, ExportFormat, PredictConfig

__all__ = [
    "FEATURES_FOLDER",
    "FEWEST_SETTINGS",
    "PLACES",
    "RUNS_FOLDER",
    "BenchmarkConfig",
    "CompareConfig",
    "Device",
    "ExportConfig",
    "ExportFormat",
    "ExtractConfig",
    "FinetuneConfig",
    "HeadConfig",
    "InspectConfig",
    "LearningCurveConfig",
    "PredictConfig",
    "PrepareConfig",
    "ProbeConfig",
    "SweepConfig",
    "ViewKind",
    "ViewSplits",
    "Views",
    "cache_path",
    "data_of",
    "dataset_name",
    "require",
    "run_of",
]
