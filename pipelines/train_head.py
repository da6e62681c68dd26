"""Cached features → an MLP head, in seconds."""

import headstart.support.ctrl_c  # noqa: F401 - first, since the others take time
from headstart import cli
from headstart.cli import nothing_saved
from headstart.settings import HeadConfig, each_run


def main(config: HeadConfig) -> None:
    """Trains, tests once, and saves the run; a run that is there already is reported."""
    from headstart.heads import run  # torch loads here, after --help has answered
    from headstart.runs.method import seeds_in_words
    from headstart.support.team import join

    with join() as team:
        folders = [run.train(each, team) for each in each_run(config)]
        if team.leads and (words := seeds_in_words(folders)):
            print(words)


if __name__ == "__main__":
    cli.run(main, HeadConfig, nothing_saved)
