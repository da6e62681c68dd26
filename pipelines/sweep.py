"""Cached features → a head for every combination of settings, all at once; the best by validation becomes the run."""

import headstart.support.ctrl_c  # noqa: F401 - first, since the others take time
from headstart import cli
from headstart.cli import nothing_saved
from headstart.settings import SweepConfig, each_run


def main(config: SweepConfig) -> None:
    """Trains, tests the best head once, and saves it with the table of all; a sweep that is there is reported."""
    from headstart.heads import programs  # torch loads here, after --help has answered
    from headstart.runs.method import seeds_in_words
    from headstart.support.team import join

    with join() as team:
        folders = [programs.sweep(each, team) for each in each_run(config)]
        if team.leads and (words := seeds_in_words(folders)):
            print(words)


if __name__ == "__main__":
    cli.run(main, SweepConfig, nothing_saved)
