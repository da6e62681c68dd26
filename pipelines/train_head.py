"""Cached features → an MLP head, in seconds."""

import headstart.support.ctrl_c  # noqa: F401 - first, since the others take time
from headstart import cli
from headstart.cli import nothing_saved
from headstart.settings import HeadConfig, each_run


def main(config: HeadConfig) -> None:
    """Trains, tests once, and saves the run; a run that is there already is reported."""
    from headstart.heads import run  # torch loads here, after --help has answered

    for each in each_run(config):
        run.train(each)


if __name__ == "__main__":
    cli.run(main, HeadConfig, nothing_saved)
