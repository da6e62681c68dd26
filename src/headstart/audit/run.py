"""An audit from the settings to the folder of its result.

audit.csv    a row for each finding, see `finding.py`
audit.html   the same with pictures, for people
audit.json   how many findings of each kind, how many labels are expected to be wrong, what a cleaned list gains
"""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.audit import classes, copies, finding, fixing, groups, labels, outliers, page, quality
from headstart.audit.answers import Asked, out_of_fold
from headstart.audit.copies import clusters, joined, same_bytes, same_picture
from headstart.audit.finding import in_order
from headstart.audit.gain import gain
from headstart.audit.pixels import fine_pictures, look
from headstart.audit.result import Result
from headstart.cache.finding import data_set_of
from headstart.cache.layout import DONE
from headstart.crossvalidation.folds import groups_of
from headstart.datasets.manifest import TEST, UNLABELLED
from headstart.errors import CacheError, RunError
from headstart.heads.features import Features
from headstart.heads.run import CachedRun
from headstart.runs.folder import WORDS
from headstart.search.neighbours import neighbours_of
from headstart.settings import RUNS_FOLDER, AuditConfig
from headstart.support.files import FULL_DISK, in_words, whole_file, write_json
from headstart.support.locking import lock
from headstart.support.quantities import counted

NEIGHBOURS = 5
"""Of each image, by features."""
FEWEST = 3
"""Images without which nothing can be compared."""


def audit(config: AuditConfig) -> Path:
    """Looks for what is wrong with the data of a cache, writes and prints it. Returns the folder."""
    run = CachedRun.from_config("audit", config, keep_copies=True)
    run = replace(run, folder=RUNS_FOLDER / data_set_of(run.cache) / "audit")
    print(run.describe())
    rows = np.flatnonzero(run.cache.status == DONE)
    if len(rows) < FEWEST:
        raise CacheError(f"{run.cache.path} has {counted(len(rows), 'finished image')}: too few to compare.")
    features = run.features(config.memory_gb, times=4, tested=rows[:0])
    result = _found(config, run, features, rows)
    fixes = fixing.fixes_of(result.findings)
    if config.fix:
        print(fixing.write(config.fix, run.cache.manifest, fixes))
    _save(run, result)
    print("\n".join([*result.lines(), f"{run.folder / 'audit.html'} shows them, audit.csv beside it lists them."]))
    return run.folder


def _found(config: AuditConfig, run: CachedRun, features: Features, rows: NDArray[np.int64]) -> Result:
    cache, manifest = run.cache, run.cache.manifest
    near = neighbours_of(features, rows, NEIGHBOURS)
    looks = look(manifest, rows, config.workers)
    pairs = same_bytes(cache.digests[rows])
    fine_of = lambda places: fine_pictures(manifest, rows[places], config.workers)  # noqa: E731
    pairs = joined(pairs, same_picture(near, looks, fine_of, pairs))
    labelled = np.flatnonzero(manifest.labels[rows] != UNLABELLED)
    copied = clusters(pairs, len(rows))[labelled]
    named = [] if manifest.groups is None else [manifest.groups[rows[labelled]]]
    is_test = manifest.splits[rows[labelled]] == TEST
    asked = Asked(rows[labelled], manifest.labels[rows[labelled]], groups_of(copied, *named), copied, is_test)
    answers = out_of_fold(features, asked, config.method, config.seed)
    trust = np.full(len(rows), np.nan, np.float32)
    trust[labelled] = answers[np.arange(len(labelled)), asked.labels]
    found = [
        *copies.findings(pairs, manifest, rows, cache.digests[rows], trust, looks.shorter_px),
        *outliers.findings(near, manifest, rows),
        *quality.findings(looks, manifest, rows, min(part.recipe.image_px for part in cache.parts)),
    ]
    known = np.flatnonzero(~np.isnan(answers).any(axis=1))
    expected = None
    if len(known):
        doubted = labels.doubted(answers[known], asked.labels[known])
        expected = doubted.expected
        shows = ~(looks.contrast[labelled[known]] < quality.BLANK)  # True of a picture that cannot be read now
        found += labels.findings(doubted, manifest, asked.rows[known], shows)
        found += classes.findings(answers[known], asked.labels[known], manifest.classes)
        if named:
            found += groups.findings(answers[known], asked.labels[known], named[0][known])
    found = in_order(found)
    gained = gain(features, cache, found, fixing.fixes_of(found), config.method, config.seed)
    uncompared = int(np.count_nonzero(~copies.can_be_compared(looks)))
    return Result(found, expected, len(known), len(labelled) - len(known), len(rows), uncompared, gained)


def _save(run: CachedRun, result: Result) -> None:
    failure = f"The audit cannot be written to {run.folder}"
    with in_words(RunError, failure, errors=FULL_DISK), lock(run.folder, WORDS, waits=True):
        run.folder.mkdir(parents=True, exist_ok=True)
        finding.write(run.folder / "audit.csv", result.findings)
        with whole_file(run.folder / "audit.html") as path:
            path.write_text(page.render(result, run.cache), encoding="utf-8")
        write_json(run.folder / "audit.json", _summary(run, result))


def _summary(run: CachedRun, result: Result) -> dict[str, Any]:
    return {
        "dataset": data_set_of(run.cache),
        "images": result.images,
        "findings": dict(Counter(each.kind for each in result.findings)),
        "expected_wrong_labels": result.expected_wrong,
        "labels": result.labelled,
        "labels_that_cannot_be_judged": result.unjudged,
        "settings": run.identity,
        "gain": result.gain and result.gain.figures(),
    }
