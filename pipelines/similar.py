"""Cached features and pictures → the images of the data set that are most like each picture."""

import headstart.support.ctrl_c  # noqa: F401 - first, since the others take time
from headstart import cli
from headstart.settings import SimilarConfig


def main(config: SimilarConfig) -> int:
    """Searches, writes a CSV and a page. Exit code 1 if too many pictures are unreadable."""
    from headstart.search import run  # torch loads here, after --help has answered

    summary = run.similar(config)[1]
    return summary.unreadable.report(summary.queries, config.max_unreadable)


if __name__ == "__main__":
    cli.run(main, SimilarConfig, "Nothing was saved: the same command starts again.")
