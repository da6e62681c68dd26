"""Cached features → an MLP head, in seconds."""

from headstart import cli
from headstart.settings import HeadConfig


def main(config: HeadConfig) -> None:
    """Trains, tests once, and saves the run; a run that is there already is reported."""
    from headstart import leaderboard, training  # torch loads here, after --help has answered
    from headstart.cached_run import CachedRun

    run = CachedRun.of("head", config)
    print(run.cache.describe())
    if run.is_reported():
        return

    features = run.features()
    fitted = training.fit(features, config)
    run.save(
        fitted.head.sequential(),
        lambda split: fitted.head.probabilities(features, split),
        history=fitted.history,
        best_epoch=fitted.best_epoch,
        best_setting=leaderboard.in_words(config),
        images_per_second=len(features.rows["train"]) * config.epochs / fitted.train_seconds,
        train_seconds=fitted.train_seconds,
        seed=config.seed,
    )


if __name__ == "__main__":
    cli.run(main, HeadConfig, "Nothing was saved: the same command starts again.")
