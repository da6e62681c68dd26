"""Probes from the settings to the folders of their runs."""

import time
from dataclasses import replace
from functools import partial
from pathlib import Path

from headstart.heads.run import CachedRun
from headstart.probes import probe
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
        features = features or probed_run.features(config.memory_gb, copies=4)  # room for rotated ones in fp32
        start = time.perf_counter()
        probed = probe.probe(features, method, config.normalize)
        probed_run.save(
            probed.head.sequential() if probed.head else None,
            {"val": probed.val, "test": probed.test}.__getitem__,
            files={"candidates.csv": partial(files.write_table, rows=probed.candidates)},
            best_setting={**probed.chosen, "normalize": config.normalize},
            train_seconds=time.perf_counter() - start,
            features_in=features.source,
            train_images=len(features.rows["train"]) + len(features.rows["val"]),
        )
    return {method: probed_run.folder for method, probed_run in runs.items()}
