"""A search from the settings to its files.

<name of the images>.csv    a row for each picture and each of its nearest images
<name of the images>.html   the same with pictures, for people
"""

from collections.abc import Iterable, Iterator
from itertools import tee
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from headstart.cache.feature_cache import FeatureCache
from headstart.cache.finding import data_set_of, open_features
from headstart.cache.inspection import describe
from headstart.cache.layout import DONE
from headstart.datasets import unlabelled
from headstart.errors import CacheError, RunError, SettingsError
from headstart.heads.feature_file import FeatureFile
from headstart.heads.features import Features
from headstart.prediction.growing_csv import GrowingCsv
from headstart.prediction.predict import name_of
from headstart.search import page
from headstart.search.answers import HEADER, Answer, Summary, answers
from headstart.search.neighbours import Searched
from headstart.search.queries import Computed, computed, nets_of
from headstart.settings import RUNS_FOLDER, SimilarConfig
from headstart.support.files import in_words, whole_file
from headstart.support.progress import bar

FEW = 100
"""Pictures up to which no bar is shown."""


def similar(config: SimilarConfig) -> tuple[Path, Summary]:
    """Writes the CSV and the page, and prints a summary. Returns the CSV."""
    if not config.images:
        raise SettingsError(
            "Say what to look for: --images (a picture, a folder, a pattern, a .csv, a .txt, or archives)."
        )
    cache = open_features(config)
    print("\n".join(describe(part) for part in cache.parts))
    rows = np.flatnonzero(cache.status == DONE)
    if not len(rows):
        raise CacheError(f"{cache.path} has no finished image to find. Finish it with: {cache.extract_command()}")
    count = unlabelled.count(config.images)
    out = config.out or RUNS_FOLDER / data_set_of(cache) / "similar" / f"{name_of(config.images)}.csv"
    summary = Summary(len(rows), min(config.nearest, len(rows)))
    _write(out, _found(config, cache, rows, count), summary)
    shows = out.with_suffix(".html")
    with in_words(RunError, f"{shows} cannot be written"), whole_file(shows) as path:
        path.write_text(page.render(summary, cache, out), encoding="utf-8")
    print("\n".join([summary.in_words(), *summary.of_one(), f"{out} lists them, {shows.name} beside it shows them."]))
    return out, summary


def _found(config: SimilarConfig, cache: FeatureCache, rows: NDArray[np.int64], count: int) -> Iterator[Answer]:
    nets = nets_of(cache, config)
    searched = Searched(_features(cache, nets[0].device), rows)
    paths, names = tee(unlabelled.images_of(str(config.images)))
    queries = zip(names, _with_bar(computed(cache, nets, paths, count), count), strict=True)
    return answers(cache, searched, queries, config.nearest)


def _features(cache: FeatureCache, device: torch.device) -> Features:
    """Those of all images, left in the file: each is read twice, and once more for further blocks of pictures."""
    labels = torch.from_numpy(cache.manifest.labels).to(device)
    return Features(FeatureFile(cache.views[:1], device), labels, {}, cache.manifest.classes)


def _with_bar(queries: Iterable[Computed], count: int) -> Iterator[Computed]:
    with bar(count, "extracting", "images", shown=count > FEW) as progress:
        for each in queries:
            yield each
            progress.update()


def _write(out: Path, found: Iterable[Answer], summary: Summary) -> None:
    with GrowingCsv(out, "", HEADER) as file:
        file.resume(iter(()), lambda line: True)  # nothing of an earlier search is kept
        for answer in found:
            summary.add(answer)
            for line in answer.lines():
                file.write(line)
