"""Cached features → accuracy against the number of training images: would more images help?"""

import headstart.support.ctrl_c  # noqa: F401 - first, since the others take time
from headstart import cli
from headstart.cli import nothing_saved
from headstart.settings import LearningCurveConfig, each_backbone


def main(config: LearningCurveConfig) -> None:
    """Trains heads on growing parts, and saves the table and the picture; a curve that is there already is reported."""
    from headstart.heads import programs  # torch loads here, after --help has answered

    for each in each_backbone(config):
        programs.learning_curve(each)


if __name__ == "__main__":
    cli.run(main, LearningCurveConfig, nothing_saved)
