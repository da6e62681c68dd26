"""Predicts the classes of new images into a CSV: a line for each, in the order of the images. C classes."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import tee
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from headstart.cache.feature_cache import FeatureCache
from headstart.cache.layout import DONE, PENDING
from headstart.datasets import archives, unlabelled
from headstart.datasets.manifest import Place
from headstart.images.decoding import REASONS, passing_reasons
from headstart.images.unreadable import Unreadable
from headstart.prediction.classifier import Classifier, ImagePrediction
from headstart.prediction.growing_csv import GrowingCsv
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

Row = tuple[str, NDArray[np.float32] | None, str]
"""Name of an image, its probabilities (C,), or None and the reason why it is unreadable."""
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
        if line[-1] in passing_reasons() and (is_remote(line[0]) or os.access(line[0], os.R_OK)):
            return False
        self.resumed += 1
        self.add(line)
        return True

    def add(self, line: list[str]) -> None:
        """Counts a line of the file."""
        self.images, self.last = self.images + 1, line
        if line[-1]:
            self.unreadable.add(line[0], line[-1])
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
        path, *pairs, _ = self.last
        probable = [(name, float(p)) for name, p in zip(pairs[::2], pairs[1::2], strict=True)]
        return f"{path}: {', '.join(f'{name} ({p:.2f})' for name, p in probable if p >= SMALLEST_SHOWN)}"


def predict_images(
    classifier: Classifier, source: str, out: Path, key: str, predict_each: PredictEach, on_line: OnLine | None = None
) -> Summary:
    """Predicts images (see `unlabelled.images_of`) into a CSV; `key` says what decides it, to go on with one.

    `on_line` gets each line in turn, also those that were in the file already.
    """
    count, summary = unlabelled.count(source), Summary(on_line=on_line)
    with GrowingCsv(out, key, header(classifier)) as file, bar(count, "predicting", "images") as progress:
        names, files = tee(file.resume(unlabelled.images_of(source), summary.keep))
        progress.update(summary.resumed)
        for name, prediction in zip(names, predict_each(map(archives.place_of, files)), strict=True):
            _write(line_of((name, *prediction), classifier), file, summary, progress)
    return summary


def predict_cache(classifier: Classifier, cache: FeatureCache, out: Path, key: str, views: int = 0) -> Summary:
    """The same from features: for all finished and unreadable rows of a cache, without the backbone and the images."""
    summary, count = Summary(), int(np.count_nonzero(cache.status != PENDING))
    with GrowingCsv(out, key, header(classifier)) as file, bar(count, "predicting", "images") as progress:
        file.resume(iter(()), summary.keep)  # quick enough to start anew
        for row in _cached(classifier, cache, cache.count_of(views)):
            _write(line_of(row, classifier), file, summary, progress)
    return summary


def _write(line: list[str], file: GrowingCsv, summary: Summary, progress: "tqdm[NoReturn]") -> None:
    file.write(line)
    summary.add(line)
    progress.update()


def _cached(classifier: Classifier, cache: FeatureCache, views: int) -> Iterator[Row]:
    """Probabilities are means over the views that a row has."""
    used_views = (cache, *cache.augmented[:views])
    used_rows = [cache.used(view, views, views) for view in used_views]
    for blocks in zip(*(view.blocks() for view in used_views), strict=True):
        rows = blocks[0][0]
        total, counts = np.zeros((len(rows), len(classifier.classes)), np.float32), np.zeros((len(rows), 1))
        for (_, features), used in zip(blocks, used_rows, strict=True):
            with torch.inference_mode():
                probabilities = classifier.of_features(torch.from_numpy(features[used[rows]]).to(classifier.device))
            total[used[rows]] += probabilities.cpu().numpy()
            counts += used[rows, None]
        for n, row in enumerate(rows.tolist()):
            if cache.status[row] != PENDING:
                mean = (total[n] / counts[n]).astype(np.float32) if cache.status[row] == DONE else None
                yield cache.manifest.relative_path(row), mean, REASONS[cache.reasons[row]]


def name_of(source: str) -> str:
    """A name for a source of images: that of the folder or file, or `images`, and 8 digits of a digest of its path."""
    path = os.path.abspath(source)
    name = Path(path).stem if os.path.isfile(source) else Path(path).name
    word = "images" if set(name) & PATTERN else name
    return f"{word}-{blake2b(os.fsencode(path), digest_size=4).hexdigest()}"


def header(classifier: Classifier) -> list[str]:
    """path, predicted, probability, predicted_2, probability_2, …, unreadable."""
    ranks = range(2, min(MOST_PROBABLE, len(classifier.classes)) + 1)
    more = [f"{name}_{rank}" for rank in ranks for name in ("predicted", "probability")]
    return ["path", "predicted", "probability", *more, "unreadable"]


def line_of(row: Row, classifier: Classifier) -> list[str]:
    """A line of the CSV: the most probable classes and their probabilities, or why the image is unreadable."""
    name, probabilities, reason = row
    if probabilities is None:
        return [name, *[""] * (len(header(classifier)) - 2), reason]
    best = np.argsort(-probabilities, kind="stable")[:MOST_PROBABLE].tolist()
    return [name, *(word for c in best for word in (classifier.classes[c], str(probabilities[c]))), ""]
