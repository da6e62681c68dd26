"""Cached features → accuracy of heads and probes by repeated cross-validation: for data with few test images."""

import headstart.support.ctrl_c  # noqa: F401 - first, since the others take time
from headstart import cli
from headstart.settings import CrossValidationConfig, each_backbone


def main(config: CrossValidationConfig) -> None:
    """Tests the methods in every fold and prints their table; what is there already is reported, or gone on with."""
    from headstart.crossvalidation import run  # torch loads here, after --help has answered

    for each in each_backbone(config):
        run.cross_validate(each)


if __name__ == "__main__":
    cli.run(main, CrossValidationConfig, "Repeats that were finished are kept: the same command goes on with the next.")
