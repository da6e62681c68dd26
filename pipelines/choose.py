"""Cached features of labelled images, and a pool of others → which of the pool to label next."""

import headstart.support.ctrl_c  # noqa: F401 - first, since the others take time
from headstart import cli
from headstart.settings import ChooseConfig


def main(config: ChooseConfig) -> None:
    """Writes chosen.csv and chosen.html into the run folder of the data, says what to do with them."""
    from headstart.choosing import run  # torch loads here, after --help has answered

    run.choose(config)


if __name__ == "__main__":
    cli.run(main, ChooseConfig, "Images of the pool that were finished are kept: the same command goes on.")
