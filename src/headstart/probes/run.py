"""Probes from the settings to the folders of their runs."""

import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from headstart.heads.run import CachedRun
from headstart.probes import probe
from headstart.runs.run import HEAD_FROM_TRAIN
from headstart.settings import ProbeConfig
from headstart.support import files


def run(config: ProbeConfig) -> dict[str, Path]:
    """Applies the methods, tests each once, and saves each as a run; one that is there already is reported."""
    runs = {method: CachedRun.from_config(method, replace(config, methods=(method,))) for method in config.methods}
    print(runs[config.methods[0]].describe())
    features, unusual = None, {"select": config.select} if config.decides("select") else {}
    for method, probed_run in runs.items():
        with probed_run.alone() as is_new:
            if not is_new:
                continue
            features = features or probed_run.features(config.memory_gb, times=4)  # room for rotated ones in fp32
            start = time.perf_counter()
            probed = probe.probe(features, method, config.normalize, config.select)
            tables = {"candidates.csv": partial(files.write_table, rows=probed.candidates)}
            before = (
                probed.head_from_train
            )  # has not seen the validation images, by which a fine-tuning from it chooses
            from_train = {HEAD_FROM_TRAIN: partial(torch.save, before.sequential().state_dict())} if before else {}
            probed_run.save(
                probed.head.sequential() if probed.head else None,
                {"val": probed.val, "test": probed.test}.__getitem__,
                files=tables | from_train,
                best_setting={**probed.chosen, "normalize": config.normalize, **unusual},
                select=config.select,
                train_seconds=time.perf_counter() - start,
                features_in=features.source,
                train_images=len(features.rows["train"]) + len(features.rows["val"]),
            )
    return {method: probed_run.folder for method, probed_run in runs.items()}
