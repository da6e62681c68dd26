"""What goes with an exported model: a card for people and a JSON for programs.

N images, C classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from numpy.typing import NDArray

from headstart import runs
from headstart.errors import DataError
from headstart.exporting import Exported, Format
from headstart.files import whole_file, write_json
from headstart.loading import Loaded, default_workers, stream
from headstart.run_parts import RunFolder

TEMPLATE = "model_card.md.jinja"
CHECKED = 64
"""Images that an exported model is checked with, at most."""
NAMED = 50
"""Classes that are named in the card; model.json has all."""


@dataclass(frozen=True)
class Checks:
    """Real images to check a model with."""

    pixels: NDArray[np.uint8]
    """(n, 3, image_px, image_px)."""
    stored: NDArray[np.float32] | None
    """(n, C), what the run itself said about them; None for images that were not its own."""


def checks_of(run: RunFolder, images: Sequence[str]) -> Checks:
    """Real images: those named, or the run's own test images.

    Raises:
        DataError: not one of them can be read.
    """
    own = None if images else runs.read_predictions(run.folder)
    if own is not None:
        images = [str(Path(run.metrics.get("data_root", "")) / path) for path in own.paths]
    chosen = np.unique(np.linspace(0, max(0, len(images) - 1), CHECKED, dtype=np.int64))[: len(images)]
    files = ((int(place), Path(images[place])) for place in chosen)
    loaded = [image for image in stream(files, run.recipe.geometry, default_workers(0), CHECKED) if not image.reason]
    if not loaded:
        what = "the run's own test images" if own is not None else "the images named"
        raise DataError(f"Not one of {what} can be read: name a folder of images to check the model with, --images.")
    return Checks(_channels_first(loaded), own.probabilities[[image.row for image in loaded]] if own else None)


def _channels_first(images: Sequence[Loaded]) -> NDArray[np.uint8]:
    return np.stack([image.pixels.transpose(2, 0, 1) for image in images if image.pixels is not None])


def write(run: RunFolder, exported: Exported, stored: NDArray[np.float32] | None, form: Format) -> None:
    """Writes model_card.md and model.json beside the model.

    Args:
        run: where the model comes from.
        exported: the model.
        stored: (n, C), what the run itself said about the images that it was checked with.
        form: of the model.

    Raises:
        OSError: they cannot be written.
    """
    facts = _facts(run, exported, stored, form)
    write_json(exported.path.with_name("model.json"), facts)
    with whole_file(exported.path.with_name("model_card.md")) as path:
        path.write_text(card(facts, run.metrics), encoding="utf-8", errors="surrogateescape")


def _facts(run: RunFolder, exported: Exported, stored: NDArray[np.float32] | None, form: Format) -> dict[str, Any]:
    recipe = run.recipe
    agreement = None
    if stored is not None:
        same = (stored.argmax(1) == exported.probabilities.argmax(1)).sum()
        largest = np.abs(stored - exported.probabilities).max()
        agreement = {"same_class": int(same), "largest_difference": float(largest), "precision": recipe.precision}
    return {
        "file": exported.path.name,
        "format": form,
        "run": run.folder.name,
        "classes": run.classes,
        "image_px": recipe.image_px,
        "resize": recipe.resize,
        "shorter_px": recipe.shorter_px,
        "temperature": run.metrics.get("temperature"),
        "checked_images": len(exported.probabilities),
        "largest_difference": exported.difference,
        "to_stored_predictions": agreement,
    }


def card(facts: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """The card as Markdown, with the lines that serve the model.

    Args:
        facts: what model.json holds.
        metrics: of the run.
    """
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template(TEMPLATE).render(facts=facts, metrics=metrics, named=NAMED, duration=runs.duration)
