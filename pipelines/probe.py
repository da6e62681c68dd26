"""Cached features → how good they are, measured as papers do: logistic regression, ridge, nearest neighbours."""

import headstart.support.ctrl_c  # noqa: F401 - first, since the others take time
from headstart import cli
from headstart.settings import ProbeConfig, each_backbone


def main(config: ProbeConfig) -> None:
    """Applies the methods, tests each once, and saves each as a run; one that is there already is reported."""
    from headstart.probes import run  # torch loads here, after --help has answered

    for each in each_backbone(config):
        run.run(each)


if __name__ == "__main__":
    cli.run(main, ProbeConfig, "Methods that were finished are saved: the same command goes on with the next.")
