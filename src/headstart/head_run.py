"""A head's run, from the settings to its folder."""

from pathlib import Path

from headstart import leaderboard, training
from headstart.cached_run import CachedRun
from headstart.settings import HeadConfig


def train(config: HeadConfig) -> Path:
    """Trains, tests once, and saves the run; one that is there already is reported.

    Returns:
        Its folder.

    Raises:
        CacheError: the cache is missing or damaged, or no training row is finished.
        RunError: the folder holds another run or cannot be written.
        TrainingFailed: the loss became infinite or NaN.
    """
    run = CachedRun.of("head", config)
    print(run.cache.describe())
    if run.is_reported():
        return run.folder

    features = run.features(config.memory_gb)
    fitted = training.fit(features, config)
    run.save(
        fitted.head.sequential(),
        lambda split: fitted.head.probabilities(features.with_views(0), split),
        with_views=lambda split: fitted.head.probabilities(features.with_views(config.tta), split),
        history=fitted.history,
        best_epoch=fitted.best_epoch,
        best_setting=leaderboard.in_words(config),
        images_per_second=len(features.rows["train"]) * config.epochs / fitted.train_seconds,
        train_seconds=fitted.train_seconds,
        features_in=features.source,
        seed=config.seed,
    )
    return run.folder
