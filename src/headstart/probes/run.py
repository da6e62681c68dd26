"""Probes from the settings to the folders of their runs."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from headstart.heads.run import CachedRun
from headstart.heads.stack import Head
from headstart.probes import probe
from headstart.runs.run import HEAD_FROM_TRAIN
from headstart.settings import ProbeConfig
from headstart.support import files


def run(config: ProbeConfig) -> dict[str, Path]:
    """Applies the methods, tests each once, and saves each as a run; one that is there already is reported."""
    runs = {method: CachedRun.from_config(method, replace(config, methods=(method,))) for method in config.methods}
    print(runs[config.methods[0]].describe())
    features = None
    for method, probed_run in runs.items():
        if probed_run.is_reported():
            continue
        features = features or probed_run.features(config.memory_gb, times=4)  # room for rotated ones in fp32
        start = time.perf_counter()
        probed = probe.probe(features, method, config.normalize, config.select)
        probed_run.save(
            probed.head.sequential() if probed.head else None,
            {"val": probed.val, "test": probed.test}.__getitem__,
            files={
                "candidates.csv": partial(files.write_table, rows=probed.candidates),
                **_from_train(probed.head_from_train),
            },
            best_setting={**probed.chosen, "normalize": config.normalize, **_unusual(config)},
            select=config.select,
            train_seconds=time.perf_counter() - start,
            features_in=features.source,
            train_images=len(features.rows["train"]) + len(features.rows["val"]),
        )
    return {method: probed_run.folder for method, probed_run in runs.items()}


def _unusual(config: ProbeConfig) -> dict[str, str]:
    """The figure that chose, where it is not the usual one: a part of what the run is."""
    return {"select": config.select} if config.decides("select") else {}


def _from_train(head: Head | None) -> dict[str, Callable[[Path], None]]:
    """The file of a head that has not seen the validation images, by which a fine-tuning from it chooses."""
    return {HEAD_FROM_TRAIN: partial(torch.save, head.sequential().state_dict())} if head else {}
