"""Cached features → an MLP head, in seconds."""

from headstart import cli
from headstart.settings import RUNS_FOLDER, HeadConfig, cache_path


def main(config: HeadConfig) -> None:
    """Trains, tests once, and saves the run; a run that is there already is reported."""
    import torch

    from headstart import outcomes, runs, training  # torch loads here, after --help has answered
    from headstart.backbone import pick_device, trainable_parameters
    from headstart.cache import FeatureCache
    from headstart.features import Features

    device = pick_device(config.device)
    cache = FeatureCache(cache_path(config))
    identity = outcomes.identity(config, **cache.identity(), device=device.type)
    folder = config.run or runs.run_folder(RUNS_FOLDER, cache.manifest.name, "head", identity)
    print(cache.describe())
    if runs.finished(folder, identity):
        print(f"{folder} is there already: {runs.summary(runs.load_metrics(folder))}")
        return

    features = Features.load(cache, device)
    runs.make_folder(folder)
    fitted = training.fit(features, config)
    head = fitted.sequential()
    val, test = (
        outcomes.predictions_of(cache.manifest, cache.rows(split), fitted.probabilities(features, split))
        for split in ("val", "test")
    )
    metrics = outcomes.metrics_of_cached(
        "head",
        cache,
        val,
        test,
        device=device.type,
        train_seconds=fitted.train_seconds,
        trainable_parameters=trainable_parameters(head),
        train_images=len(features.rows["train"]),
        best_epoch=fitted.best_epoch,
        seed=config.seed,
    )
    runs.save(
        folder,
        files={"head.pth": lambda path: torch.save(head.state_dict(), path)},
        config=identity,
        metrics=metrics,
        history=fitted.history,
        predictions=test,
    )
    print(f"{folder}: {runs.summary(metrics)}")


if __name__ == "__main__":
    cli.run(main, HeadConfig, "Nothing was saved: the same command starts again.")
