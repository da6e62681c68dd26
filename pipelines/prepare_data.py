"""Data sets that come from a library → a folder of PNG files, once."""

import headstart.support.ctrl_c  # noqa: F401 - first, since the others take time
from headstart import cli
from headstart.settings import PrepareConfig


def main(config: PrepareConfig) -> None:
    """Writes the folder unless it is there."""
    from headstart.datasets import examples
    from headstart.settings import data_of

    print(examples.prepare(config.source, data_of(config)))


if __name__ == "__main__":
    cli.run(main, PrepareConfig, "Nothing was written: the same command starts again.")
