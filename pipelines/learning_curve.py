"""Cached features → accuracy against the number of training images: would more images help?"""

from headstart import cli
from headstart.settings import LearningCurveConfig


def main(config: LearningCurveConfig) -> None:
    """Trains heads on growing parts, and saves the table and the picture; a curve that is there already is reported."""
    from headstart.cache.inspection import describe
    from headstart.heads import learning_curve, pictures
    from headstart.heads.run import CachedRun
    from headstart.runs import folder  # torch loads here, after --help has answered
    from headstart.support import files

    run = CachedRun.from_config("learning-curve", config)
    print(describe(run.cache))
    table = run.folder / "learning_curve.csv"
    if folder.finished(run.folder, run.identity):
        print("\n".join(learning_curve.lines(learning_curve.read(table))))
        print(f"{run.folder} is there already.")
        return

    points = learning_curve.learning_curve(run.features(config.memory_gb), config)
    print("\n".join(learning_curve.lines(points)))
    run.folder.mkdir(parents=True, exist_ok=True)
    with files.whole_file(run.folder / "learning_curve.png") as path:
        pictures.accuracy_by_training_images(points, path)
    files.write_json(run.folder / "config.json", run.identity)
    files.write_table(table, points)
    print(f"Accuracy against the number of training images: {run.folder / 'learning_curve.png'}")


if __name__ == "__main__":
    cli.run(main, LearningCurveConfig, "Nothing was saved: the same command starts again.")
