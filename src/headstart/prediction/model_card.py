"""Writes an exported model, with a card for people and a JSON for programs. C classes."""

import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined, UndefinedError
from numpy.typing import NDArray

from headstart.datasets import unlabelled
from headstart.datasets.archives import place_of
from headstart.errors import DataError, RunError
from headstart.images.geometry import Geometry
from headstart.images.loading import default_workers, stream
from headstart.prediction.exporting import Exported, Squares, input_names
from headstart.prediction.loading import recipes_of
from headstart.runs.predictions import read_predictions
from headstart.runs.run import Run
from headstart.support.files import in_words, whole_file, write_json
from headstart.support.output import visible
from headstart.support.plain_files import make_own_folder
from headstart.support.quantities import duration

CHECKED = 64
"""The most images that an exported model is checked with."""
NAMED = 50
"""The most classes that the card names; model.json has all."""


def checks_of(run: Run, source: str | None) -> tuple[Squares, NDArray[np.float32] | None]:
    """Reads images to check a model with: those of `source` (see `unlabelled.images_of`), or the run's test images.

    Returns their squares and, of test images, the run's probabilities (n, C).
    """
    tested = None if source else read_predictions(run.folder, probabilities=True)
    root, stored = Path(run.metrics.get("data_root", "")), tested.probabilities if tested else None
    paths = [str(root / path) for path in tested.paths] if tested else list(unlabelled.images_of(str(source)))
    chosen = np.unique(np.linspace(0, max(0, len(paths) - 1), CHECKED, dtype=np.int64))[: len(paths)]
    places = ((int(place), place_of(paths[place])) for place in chosen)
    geometries = geometries_of(run)
    images = stream(places, lambda row, digest: dict(enumerate(geometries)), default_workers(0), CHECKED)
    readable = [image for image in images if image.pixels is not None]
    if not readable:
        what = f"the images of {source}" if source else f"the {len(paths)} test images of the run, in {root},"
        raise DataError(f"Not one of {what} can be read: name images to check the model with, --images.")
    squares = [
        np.stack([np.asarray(image.pixels).transpose(2, 0, 1) for image in readable if image.view == number])
        for number in range(len(geometries))
    ]
    return squares, None if stored is None else stored[[image.row for image in readable if image.view == 0]]


def geometries_of(run: Run) -> list[Geometry]:
    """How a picture becomes each input of the model: several where nets side by side see different squares."""
    return list(dict.fromkeys(recipe.geometry for recipe in recipes_of(run)))


def write(run: Run, exported: Exported, stored: NDArray[np.float32] | None, folder: Path) -> Path:
    """Writes model.json, model_card.md and, last of all, the model, whose path it returns; see `checks_of`."""
    model = folder / f"model.{exported.form}"
    facts = _facts(run, exported, stored)
    text = card(facts, run).encode(errors="surrogateescape")
    with in_words(RunError, f"The model cannot be written to {folder}", "Name another folder with --out."):
        if folder.parent == run.folder:
            make_own_folder(folder)
        else:
            folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "model.json", facts)
        for path, content in ((folder / "model_card.md", text), (model, exported.content)):
            with whole_file(path) as temporary:
                temporary.write_bytes(content)
    return model


def _facts(run: Run, exported: Exported, stored: NDArray[np.float32] | None) -> dict[str, Any]:
    geometries, agreement = [asdict(geometry) for geometry in geometries_of(run)], None
    if stored is not None:
        same = (stored.argmax(1) == exported.probabilities.argmax(1)).sum()
        largest = np.abs(stored - exported.probabilities).max()
        precision = "+".join(dict.fromkeys(recipe.precision for recipe in recipes_of(run)))
        agreement = {"same_class": int(same), "largest_difference": float(largest), "precision": precision}
    return {
        "file": f"model.{exported.form}",
        "format": exported.form,
        "run": run.folder.name,
        "classes": run.classes,
        "backbone": run.backbone,
        **geometries[0],
        **({"inputs": dict(zip(input_names(len(geometries)), geometries, strict=True))} if geometries[1:] else {}),
        "temperature": run.temperature,
        "checked_images": len(exported.probabilities),
        "largest_difference": exported.difference,
        "to_stored_predictions": agreement,
    }


def as_text(value: Any) -> Any:
    """The value with every text in it written so that Markdown shows it as it is: no markup, HTML, table or line."""
    if isinstance(value, str):
        return re.sub(r"[\\`*\[\]<>|#~$&]|(?<!\w)_|_(?!\w)", r"\\\g<0>", visible(value))
    if isinstance(value, Mapping):
        return {key: as_text(item) for key, item in value.items()}
    return [as_text(item) for item in value] if isinstance(value, list | tuple) else value


def card(facts: Mapping[str, Any], run: Run) -> str:
    """The card as Markdown, from the content of model.json and the run, with code that serves the model."""
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.get_template("model_card.md.jinja")
    try:
        said = as_text({"metrics": run.metrics, "settings": run.settings(), "facts": facts})
        return template.render(said, frozen=run.is_on_features, of_groups=run.in_groups, named=NAMED, duration=duration)
    except (UndefinedError, TypeError) as error:
        raise RunError(
            f"The run lacks what belongs on a card ({error}): another version made it. Train again."
        ) from None
