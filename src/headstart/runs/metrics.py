"""What the metrics.json of a run says, and of which types: a file may be damaged, or come from a stranger."""

from pathlib import Path
from typing import Any, Literal, Required, TypedDict

from headstart.errors import RunError, warn
from headstart.settings.ranges import CountOrZero
from headstart.settings.selection import Select
from headstart.support import checksums
from headstart.support.passing import refuse_passing
from headstart.support.strangers import misfit, read_json


class Figures(TypedDict, total=False):
    """Those of a split."""

    images: CountOrZero
    groups: CountOrZero
    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    log_loss: float
    top5_accuracy: float
    calibration_error: float
    log_loss_scaled: float
    calibration_error_scaled: float
    accuracy_ci95: tuple[float, float]
    balanced_accuracy_ci95: tuple[float, float]
    macro_f1_ci95: tuple[float, float]
    log_loss_ci95: tuple[float, float]


class Tested(Figures, total=False):
    """Those of the test images."""

    images: Required[CountOrZero]  # type: ignore[misc]


class Net(TypedDict, total=False):
    """What a recipe says that is shown."""

    backbone: str
    weights: str
    weights_digest: str
    image_px: int
    resize: str
    features: int
    storage: Literal["float16", "float32"]


class Cost(TypedDict, total=False):
    """What the features of a run cost."""

    images: CountOrZero
    per_image: CountOrZero
    bytes: float
    seconds: float
    net_images_per_second: float


class Metrics(TypedDict, total=False):
    """The whole file; null counts as missing, and a run of an earlier version lacks some of it."""

    kind: Required[str]
    dataset: Required[str]
    test: Required[Tested]
    val: Required[Figures]
    title: str
    device: str
    method: str
    select: Select
    data_root: str
    data_source: str
    listing: dict[str, str | float | bool | None]
    classes: list[str]
    train_images: CountOrZero
    test_digest: str
    trainable_parameters: CountOrZero
    images_per_second: float
    peak_memory_bytes: float
    extract_seconds: float
    train_seconds: float
    temperature: float
    best_setting: dict[str, Any]
    seed: int | list[int]
    split_seed: CountOrZero
    heads: CountOrZero
    views: CountOrZero
    weights: str
    backbone: str
    features: int | Cost
    recipe: Net
    recipes: list[Net]
    geometry: Net
    weights_files: list[str]
    caches: list[str]
    augmentation: str


def read(folder: Path) -> dict[str, Any]:
    """The figures of a run; a RunError if they cannot be read, a FileNotFoundError if there are none."""
    path = folder / "metrics.json"
    try:
        content = read_json(path)
    except FileNotFoundError:
        raise
    except (OSError, ValueError, MemoryError) as error:
        refuse_passing(RunError, path, error)
        reason = getattr(error, "strerror", None) or error
        raise RunError(f"{path} cannot be read ({reason}): move the folder away and run again.") from None
    if missing := sorted(Metrics.__required_keys__ - content.keys()):
        raise RunError(f"{path} lacks {' and '.join(missing)}: move the folder away and run again.")
    if (place := misfit(content, Metrics)) is not None:
        raise RunError(f"{path} is not of our kind: {place} has another type. Move the folder away and run again.")
    if changed := _changed(folder, content):
        warn(
            f"{folder}: {' and '.join(changed)} changed after the training, by hand or by damage. What is said of this "
            "run may be wrong; where that matters, take it from a copy, or move the folder away and run again."
        )
    return {name: value for name, value in content.items() if name not in (checksums.FILES, checksums.OWN)}


def _changed(folder: Path, content: dict[str, Any]) -> list[str]:
    """The files of a run, read as they are, that are no longer what was written."""
    changed = ["metrics.json"] if checksums.is_changed(content) else []
    config = folder / "config.json"
    if config.is_file() and checksums.known_in(content, config) not in (None, checksums.of_file(config)):
        changed.append(config.name)
    return changed
