"""Images → a whole net trained end to end: the slow way, for comparison."""

import headstart.support.ctrl_c  # noqa: F401 - first, since the others take time
from headstart import cli
from headstart.settings import FinetuneConfig


def main(config: FinetuneConfig) -> None:
    """Trains, tests once, and saves the run; a run that is there already is reported."""
    from headstart.finetuning import run  # torch loads here, after --help has answered
    from headstart.runs.method import seeds_in_words
    from headstart.support.team import join

    with join() as team:
        folders = run.train_each(config, team)
        if team.leads and (words := seeds_in_words(folders)):
            print(words)


if __name__ == "__main__":
    cli.run(main, FinetuneConfig, "Epochs that were finished are kept: the same command goes on after them.")
