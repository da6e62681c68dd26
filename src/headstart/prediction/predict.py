"""Predicts the classes of new images into a CSV: a line for each, in the order of the images. C classes."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import chain, tee
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from tqdm import tqdm

from headstart.cache.feature_cache import FeatureCache
from headstart.cache.layout import PENDING
from headstart.datasets import archives, unlabelled
from headstart.datasets.manifest import Place
from headstart.datasets.unlabelled import stamp_of
from headstart.images.decoding import REASONS, passing_reasons
from headstart.images.unreadable import Unreadable
from headstart.prediction.classifier import Classifier
from headstart.prediction.distance import DIGITS, UNKNOWN, Limit
from headstart.prediction.growing_csv import GrowingCsv
from headstart.prediction.image_prediction import ImagePrediction, mean_of
from headstart.settings.base import PATTERN
from headstart.support.progress import bar
from headstart.support.quantities import counted
from headstart.support.remote import is_remote

MOST_PROBABLE = 5
"""Classes of each image in the CSV."""
SHOWN = 10
"""Classes in the summary."""
SMALLEST_SHOWN = 0.005
"""Probability that is not rounded to 0.00."""

Row = tuple[str, ImagePrediction]
"""Name of an image, and what is predicted for it."""
PredictEach = Callable[[Iterable[Place]], Iterator[ImagePrediction]]
"""As `Classifier.predict_each` does, here or elsewhere."""
OnLine = Callable[[list[str]], object]
"""What is done with each line of the CSV."""


@dataclass
class Summary:
    """How many images were predicted; of these, `resumed` had a line in the file already."""

    images: int = 0
    resumed: int = 0
    by_class: Counter[str] = field(default_factory=Counter)
    unreadable: Unreadable = field(default_factory=Unreadable)
    last: list[str] = field(default_factory=list)  # the line of the last image
    on_line: OnLine | None = None

    def keep(self, line: list[str]) -> bool:
        """Counts a line that was in the file already, unless its image was unreadable and may be readable now."""
        if line[-2] in passing_reasons() and (is_remote(line[0]) or os.access(line[0], os.R_OK)):
            return False
        self.resumed += 1
        self.add(line)
        return True

    def add(self, line: list[str]) -> None:
        """Counts a line of the file."""
        self.images, self.last = self.images + 1, line
        if line[-2]:
            self.unreadable.add(line[0], line[-2])
        else:
            self.by_class[line[1]] += 1
        if self.on_line:
            self.on_line(line)

    def in_words(self) -> str:
        """How many images were taken for which class, for a terminal."""
        named = [f"{count:,} {name}" for name, count in self.by_class.most_common(SHOWN)]
        rest = f" and {len(self.by_class) - SHOWN} more classes" if len(self.by_class) > SHOWN else ""
        before = f" ({self.resumed:,} of them before)" if self.resumed else ""
        return f"{counted(self.images, 'image')}{before}: {', '.join(named) or 'none of them readable'}{rest}"

    def of_one_image(self) -> str:
        """The most probable classes of the image, if there was only one and it is readable; otherwise empty."""
        if self.images != 1 or self.unreadable:
            return ""
        path, *pairs, _, distance = self.last
        probable = [(name, float(p)) for name, p in zip(pairs[::2], pairs[1::2], strict=True) if p]
        known = ", ".join(f"{name} ({p:.2f})" for name, p in probable if p >= SMALLEST_SHOWN)
        return f"{path}: {known}" if pairs[1] else f"{path}: {UNKNOWN}, at a distance of {distance}; else {known}"


def predict_images(
    classifier: Classifier,
    source: str,
    out: Path,
    key: str,
    predict_each: PredictEach,
    limit: Limit | None = None,
    on_line: OnLine | None = None,
) -> Summary:
    """Predicts images (see `unlabelled.images_of`) into a CSV; `key` says what decides it, to go on with one.

    Images beyond the limit are unknown. `on_line` gets each line in turn, also those that were in the file already.
    """
    count, summary = unlabelled.count(source), Summary(on_line=on_line)
    with GrowingCsv(out, key, header(classifier), stamp_of) as file, bar(count, "predicting", "images") as progress:
        missing = file.resume(unlabelled.images_of(source), summary.keep)
        images, asked = tee((name, stamp_of(name)) for name in missing)  # before the image is read
        progress.update(summary.resumed)
        places = (archives.place_of(name) for name, _ in asked)
        for (name, stamp), prediction in zip(images, predict_each(places), strict=True):
            _write(line_of((name, prediction), classifier, limit), file, summary, progress, stamp)
    return summary


def predict_cache(
    classifier: Classifier, cache: FeatureCache, out: Path, key: str, views: int = 0, limit: Limit | None = None
) -> Summary:
    """The same from features: for all finished and unreadable rows of a cache, without the backbone and the images."""
    summary, count = Summary(), int(np.count_nonzero(cache.status != PENDING))
    with GrowingCsv(out, key, header(classifier)) as file, bar(count, "predicting", "images") as progress:
        file.resume(iter(()), summary.keep)  # quick enough to start anew
        for row in _cached(classifier, cache, cache.count_of(views)):
            _write(line_of(row, classifier, limit), file, summary, progress)
    return summary


def _write(line: list[str], file: GrowingCsv, summary: Summary, progress: "tqdm[NoReturn]", stamp: str = "") -> None:
    file.write(line, stamp)
    summary.add(line)
    progress.update()


def _cached(classifier: Classifier, cache: FeatureCache, views: int) -> Iterator[Row]:
    """Probabilities are means over the views that a row has."""
    used_views = (cache, *cache.augmented[:views])
    used_rows = [cache.used(view, views, views) for view in used_views]
    for blocks in zip(*(view.blocks() for view in used_views), strict=True):
        rows, found = blocks[0][0], []
        for (_, features), used in zip(blocks, used_rows, strict=True):
            with torch.inference_mode():
                measured = classifier.measured(torch.from_numpy(features[used[rows]]).to(classifier.device))
            found.append((iter(measured.cpu().numpy()), used))
        for row in rows[cache.status[rows] != PENDING].tolist():
            of_row = [classifier.prediction_of(next(of_view)) for of_view, used in found if used[row]]
            unreadable = ImagePrediction(None, REASONS[cache.reasons[row]])
            yield cache.manifest.relative_path(row), mean_of(of_row or [unreadable])


def name_of(source: str) -> str:
    """A name for a source of images: that of the folder or file, or `images`, and 8 digits of a digest of its path."""
    path = os.path.abspath(source)
    name = Path(path).stem if os.path.isfile(source) else Path(path).name
    word = "images" if set(name) & PATTERN else name
    return f"{word}-{blake2b(os.fsencode(path), digest_size=4).hexdigest()}"


def header(classifier: Classifier) -> list[str]:
    """path, predicted, probability, predicted_2, probability_2, …, unreadable, distance."""
    ranks = range(2, min(MOST_PROBABLE, len(classifier.classes)) + 1)
    more = [f"{name}_{rank}" for rank in ranks for name in ("predicted", "probability")]
    return ["path", "predicted", "probability", *more, "unreadable", "distance"]


def line_of(row: Row, classifier: Classifier, limit: Limit | None = None) -> list[str]:
    """A line of the CSV: the most probable classes and their probabilities, or why the image is unreadable.

    Of an image beyond the limit `unknown` comes first, without a probability, and the classes behind it.
    """
    name, prediction = row
    if prediction.probabilities is None:
        return [name, *[""] * (len(header(classifier)) - 3), prediction.reason, ""]
    best = np.argsort(-prediction.probabilities, kind="stable")[:MOST_PROBABLE].tolist()
    pairs = [(classifier.classes[c], str(prediction.probabilities[c])) for c in best]
    distance = prediction.distance
    if limit and distance is not None and limit.excludes(distance):
        pairs = [(UNKNOWN, ""), *pairs[:-1]]
    return [name, *chain.from_iterable(pairs), "", "" if distance is None else f"{distance:.{DIGITS}f}"]
