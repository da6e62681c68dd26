"""The programs that train many heads, from the settings to the folder of the run."""

from pathlib import Path

from headstart.errors import RunError
from headstart.heads import last_doubling, leaderboard, pictures
from headstart.heads import learning_curve as curves
from headstart.heads import sweep as sweeps
from headstart.heads.run import CachedRun
from headstart.runs import folder
from headstart.settings import LearningCurveConfig, SweepConfig
from headstart.support import files
from headstart.support.checksums import seal, unseal
from headstart.support.team import ALONE, Team


def sweep(config: SweepConfig, team: Team = ALONE) -> Path:
    """Trains, tests the best head once, and saves it with the table of all; a sweep that is there is reported."""
    run = CachedRun.from_config("sweep", config)
    print(run.describe())
    with run.alone(team) as is_new:
        if is_new:
            _sweep(run, config, team)
    return run.folder


def _sweep(run: CachedRun, config: SweepConfig, team: Team) -> None:
    features, heads = run.features(config.memory_gb), config.heads()
    swept = sweeps.sweep(features, heads, config.halves(), team)
    if not team.leads:
        return
    settings = swept.settings
    print("\n".join(leaderboard.lines(settings)))
    print(
        "Val: of the epoch that the validation images chose, and the first also of the setting, so a little too good."
    )
    print(f"{len(heads)} heads, {swept.head_epochs:,} epochs of training in all; each head: {run.folder / 'sweep.csv'}")
    run.save_head(
        swept.best,
        settings[0].best.config,
        features,
        files={
            "sweep.csv": lambda path: files.write_table(path, leaderboard.table(settings)),
            "sweep.png": lambda path: pictures.settings_panels(
                *leaderboard.trials_and_winner(settings), path, config.select
            ),
        },
        train_seconds=swept.seconds,
        heads=len(heads),
        images_per_second=len(features.rows["train"]) * swept.head_epochs / swept.seconds,
        head_epochs=swept.head_epochs,
    )


def learning_curve(config: LearningCurveConfig) -> Path:
    """Trains heads on growing parts, and saves the table and the picture; a curve that is there already is reported."""
    run = CachedRun.from_config("learning-curve", config)
    print(run.describe())
    table = run.folder / "learning_curve.csv"
    with folder.alone(run.folder, run.identity) as is_new:
        if is_new:
            _learning_curve(run, config, table)
            return run.folder
    points = curves.read(table)
    print("\n".join([*curves.lines(points), curves.NOTE]))
    print(f"{run.folder} is there already.\n{last_doubling.sentence(points)}")
    return run.folder


def _learning_curve(run: CachedRun, config: LearningCurveConfig, table: Path) -> None:
    points = curves.learning_curve(run.features(config.memory_gb), config)
    folder.say_if_new(run.folder)
    print("\n".join([*curves.lines(points), curves.NOTE]))
    with files.in_words(RunError, f"The learning curve cannot be written to {run.folder}"):
        run.folder.mkdir(parents=True, exist_ok=True)
        with files.whole_file(run.folder / "learning_curve.png") as path:
            pictures.accuracy_by_training_images(points, path)
        unseal(run.folder)
        files.write_json(run.folder / "config.json", run.identity)
        files.write_table(table, points)
        seal(run.folder, ["config.json", table.name])
    print(f"Accuracy against the number of training images: {run.folder / 'learning_curve.png'}")
    print(last_doubling.sentence(points))
