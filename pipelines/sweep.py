"""Cached features → a head for every combination of settings, all at once; the best by validation becomes the run."""

from headstart import cli
from headstart.settings import SweepConfig


def main(config: SweepConfig) -> None:
    """Trains, tests the best head once, and saves it with the table of all; a sweep that is there is reported."""
    from headstart.cache.inspection import describe
    from headstart.heads import leaderboard, pictures, sweep  # torch loads here, after --help has answered
    from headstart.heads.run import CachedRun
    from headstart.support import files

    run = CachedRun.from_config("sweep", config)
    print(describe(run.cache))
    if run.is_reported():
        return

    features, heads = run.features(config.memory_gb), config.heads()
    swept = sweep.sweep(features, heads, config.halves())
    best, settings = swept.settings[0].best.config, swept.settings
    print("\n".join(leaderboard.lines(settings)))
    print(f"{len(heads)} heads, {swept.head_epochs:,} epochs of one in all; each head: {run.folder / 'sweep.csv'}")
    run.save(
        swept.best.head.sequential(),
        lambda split: swept.best.head.probabilities(features.with_views(0), split),
        with_views=lambda split: swept.best.head.probabilities(features.with_views(config.tta), split),
        history=swept.best.history,
        files={
            "sweep.csv": lambda path: files.write_table(path, leaderboard.table(settings)),
            "sweep.png": lambda path: pictures.settings_panels(*leaderboard.drawn(settings), path),
        },
        best_epoch=swept.best.best_epoch,
        best_setting=leaderboard.in_words(best),
        train_seconds=swept.seconds,
        features_in=features.source,
        heads=len(heads),
        images_per_second=len(features.rows["train"]) * swept.head_epochs / swept.seconds,
        head_epochs=swept.head_epochs,
        seed=best.seed,
    )


if __name__ == "__main__":
    cli.run(main, SweepConfig, "Nothing was saved: the same command starts again.")
