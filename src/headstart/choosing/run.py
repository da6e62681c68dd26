"""A choice from the settings to the folder of its result.

chosen.csv    a row for each image: rank, path, the class it looks like, its probability, the margin to the next class
chosen.html   the same with pictures, for people
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from headstart.cache.feature_cache import FeatureCache
from headstart.cache.finding import data_set_of
from headstart.cache.joined import JoinedCache
from headstart.cache.layout import DONE, UNREADABLE
from headstart.choosing import page
from headstart.choosing.learning import learned
from headstart.choosing.picking import margins, pick
from headstart.choosing.pool import features_of_pool
from headstart.choosing.result import Image, Result
from headstart.datasets import unlabelled
from headstart.datasets.manifest import UNDRAWN, UNLABELLED
from headstart.errors import DataError, RunError, SettingsError
from headstart.heads.features import Features
from headstart.heads.run import CachedRun
from headstart.heads.stack import Head
from headstart.runs.folder import WORDS
from headstart.settings import RUNS_FOLDER, ChooseConfig
from headstart.settings.command import command
from headstart.support.devices import available_bytes
from headstart.support.files import FULL_DISK, in_words, whole_file
from headstart.support.locking import lock

Numbers = NDArray[np.int64]


def choose(config: ChooseConfig) -> Path:
    """Chooses images of a pool, writes and prints which. Returns the folder."""
    if config.pool is None:
        raise SettingsError("No pool is named: give --pool, a folder or a list of images that need no labels.")
    run = CachedRun.from_config("choose", config, keep_copies=True)
    run = replace(run, folder=RUNS_FOLDER / data_set_of(run.cache) / "choose")
    print(run.describe())
    manifest, paths = unlabelled.manifest_of(config.pool)
    features = run.features(config.memory_gb, times=4, tested=np.empty(0, np.int64))
    head = learned(features, run.cache, config)
    caches = [features_of_pool(config, manifest, part) for part in run.cache.parts]
    result = _chosen(config, head, caches[0] if len(caches) == 1 else JoinedCache(caches), run, paths)
    _save(config, run, result)
    return run.folder


def _chosen(config: ChooseConfig, head: Head, pool: FeatureCache, run: CachedRun, paths: Sequence[str]) -> Result:
    rows, counts = candidates(pool, run.cache)
    if not len(rows):
        raise DataError(f"{config.pool} has no image that could be chosen: {Result((), 0, *counts).left_out()}.")
    memory_bytes = 1e9 * config.memory_gb or available_bytes(run.device) / 4
    of_split = {"train": rows}
    features = Features.load(pool, run.device, memory_bytes, rows_of=lambda split: of_split.get(split, rows[:0]))
    probabilities = head.probabilities(features, "train")
    margin = margins(probabilities)

    def features_of(places: Numbers) -> NDArray[np.float32]:
        values: NDArray[np.float32] = features.values[torch.from_numpy(rows[places])].float().cpu().numpy()
        return values

    images = [
        Image(
            paths[rows[place]],
            run.cache.manifest.classes[probabilities[place].argmax()],
            float(probabilities[place].max()),
            float(margin[place]),
        )
        for place in pick(margin, features_of, config.n, config.seed).tolist()
    ]
    return Result(images, config.n, *counts)


def candidates(pool: FeatureCache, labelled: FeatureCache) -> tuple[Numbers, tuple[int, int, int, int]]:
    """Rows of the pool with features, each content once, none that is labelled; counts as in `Result`."""
    manifest = labelled.manifest
    known = set(map(bytes, labelled.digests[(manifest.labels != UNLABELLED) & (labelled.status == DONE)]))
    rows = np.flatnonzero(pool.status == DONE)
    digests = list(map(bytes, pool.digests[rows]))
    first = {digest: row for row, digest in zip(rows[::-1].tolist(), digests[::-1], strict=True)}
    new = sorted(row for digest, row in first.items() if digest not in known)
    are_labelled = sum(digest in known for digest in digests)
    counts = len(pool), are_labelled, len(rows) - are_labelled - len(new), int((pool.status == UNREADABLE).sum())
    return np.array(new, np.int64), counts


def _next_steps(config: ChooseConfig, run: CachedRun) -> Iterator[tuple[str, str]]:
    """What to do now, and what to know: sentences, each with the command that follows, if one does."""
    manifest = run.cache.manifest
    again = command("train-head", manifest.source, config.cache, backbone=config.backbone)
    yield f"Label them and add them to {manifest.source}; only they are then computed:", again
    if UNDRAWN in run.cache.parts[0].listed.splits:
        yield (
            "A tenth of what is added is drawn for test, and these images are harder than others: accuracies before "
            "and after can be compared only if the data name the test images.",
            "",
        )


def _save(config: ChooseConfig, run: CachedRun, result: Result) -> None:
    steps = list(_next_steps(config, run))
    random_weights = any(part.recipe.weights == "random" for part in run.cache.parts)
    failure = f"The choice cannot be written to {run.folder}"
    with in_words(RunError, failure, errors=FULL_DISK), lock(run.folder, WORDS, waits=True):
        run.folder.mkdir(parents=True, exist_ok=True)
        result.write(run.folder / "chosen.csv")
        with whole_file(run.folder / "chosen.html") as path:
            text = page.render(result, data_set_of(run.cache), str(config.pool), steps, random_weights)
            path.write_text(text, encoding="utf-8")
    shown = f"{run.folder / 'chosen.html'} shows them, chosen.csv beside it lists them."
    print("\n".join([*result.lines(), shown, *(" ".join(step).rstrip() for step in steps)]))
