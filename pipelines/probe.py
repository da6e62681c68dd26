"""Cached features → how good they are by the papers' protocols: logistic regression, ridge, nearest neighbours."""

from dataclasses import replace

from headstart import cli
from headstart.settings import ProbeConfig


def main(config: ProbeConfig) -> None:
    """Applies the methods, tests each once, and saves each as a run; one that is there already is reported."""
    import time
    from functools import partial

    from headstart.cache.inspection import describe
    from headstart.heads.run import CachedRun
    from headstart.probes import probe  # torch loads here, after --help has answered
    from headstart.support import files

    runs = {method: CachedRun.from_config(method, replace(config, methods=(method,))) for method in config.methods}
    print(describe(runs[config.methods[0]].cache))
    features = None
    for method, run in runs.items():
        if run.is_reported():
            continue
        features = features or run.features(config.memory_gb, copies=4)  # room for rotated ones in fp32
        start = time.perf_counter()
        probed = probe.probe(features, method, config.normalize)
        run.save(
            probed.head.sequential() if probed.head else None,
            {"val": probed.val, "test": probed.test}.__getitem__,
            files={"candidates.csv": partial(files.write_table, rows=probed.candidates)},
            best_setting={**probed.chosen, "normalize": config.normalize},
            train_seconds=time.perf_counter() - start,
            features_in=features.source,
            train_images=len(features.rows["train"]) + len(features.rows["val"]),
        )


if __name__ == "__main__":
    cli.run(main, ProbeConfig, "Methods that were finished are saved: the same command goes on with the next.")
