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
    settings = swept.settings
    print("\n".join(leaderboard.lines(settings)))
    print(f"{len(heads)} heads, {swept.head_epochs:,} epochs of one in all; each head: {run.folder / 'sweep.csv'}")
    run.save_head(
        swept.best,
        settings[0].best.config,
        features,
        files={
            "sweep.csv": lambda path: files.write_table(path, leaderboard.table(settings)),
            "sweep.png": lambda path: pictures.settings_panels(*leaderboard.trials_and_winner(settings), path),
        },
        train_seconds=swept.seconds,
        heads=len(heads),
        images_per_second=len(features.rows["train"]) * swept.head_epochs / swept.seconds,
        head_epochs=swept.head_epochs,
    )


if __name__ == "__main__":
    cli.run(main, SweepConfig, "Nothing was saved: the same command starts again.")
