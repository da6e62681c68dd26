"""Every setting of every program, once: name, range, unit, default.

It loads nothing slow: `--help` must respond at once.

    base.py         what the settings of several programs share, and the folders, cache and data set that they name
    ranges.py       types of settings, with the values that they allow
    listing.py      which data set is read, and what its folders and columns mean
    extract.py      prepare data, extract features, inspect a cache, benchmark, gpu
    selection.py    the figure by which validation chooses
    heads.py        head, sweep, probe, learning curve, cross-validation, audit
    choose.py       choosing images to label
    finetune.py     fine-tuning
    runs.py         compare, predict, export
    search.py       similar images
    command.py      commands in messages, with the user's data and flags
    mistakes.py     flags that a program does not have, and words that a flag does not take
    from_python.py  Python functions with settings as arguments: signature, help, values
    wording.py      messages about flags, as Python says them

Imports nothing of the package but `errors`, and no numpy, torch, h5py. Unlike the other folders it hands its names on,
since nearly every module needs one of them.
"""

from headstart.settings.base import (
    FEATURES_FOLDER,
    PLACES,
    RUNS_FOLDER,
    data_of,
    dataset_name,
    each_backbone,
    each_run,
    each_seed,
    require,
    run_of,
)
from headstart.settings.choose import ChooseConfig
from headstart.settings.extract import (
    DEFAULTS,
    BenchmarkConfig,
    ExtractConfig,
    GpuConfig,
    InspectConfig,
    PrepareConfig,
)
from headstart.settings.finetune import FinetuneConfig
from headstart.settings.heads import (
    AuditConfig,
    CrossValidationConfig,
    HeadConfig,
    LearningCurveConfig,
    ProbeConfig,
    SweepConfig,
)
from headstart.settings.listing import DataCheckConfig, Listing
from headstart.settings.ranges import Device, ExportFormat, ViewKind, Views, ViewSplits
from headstart.settings.runs import CompareConfig, ExportConfig, PredictConfig
from headstart.settings.search import SimilarConfig
