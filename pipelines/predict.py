"""A run and new images → a CSV with the class of each: backbone and head as one model."""

import headstart.support.ctrl_c  # noqa: F401 - first, since the others take time
from headstart import cli
from headstart.settings import PredictConfig


def main(config: PredictConfig) -> int:
    """Predicts, and prints a summary. Exit code 1 if too many images are unreadable."""
    from headstart.prediction import programs  # torch loads here, after --help has answered

    summary = programs.predict(config)[1]
    return summary.unreadable.report(summary.images, config.max_unreadable)


if __name__ == "__main__":
    cli.run(main, PredictConfig, "Lines that were finished are kept: the same command goes on after them.")
