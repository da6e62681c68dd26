"""Puts all runs of a data set side by side: what each is worth, what it took, and whether fine-tuning pays."""

import headstart.support.ctrl_c  # noqa: F401 - first, since the others take time
from headstart import cli
from headstart.settings import CompareConfig


def main(config: CompareConfig) -> None:
    """Prints two tables and a sentence, and writes the same as JSON, as a picture and as a page."""
    from headstart.report import writing  # torch loads here, after --help has answered

    writing.compare(config)


if __name__ == "__main__":
    cli.run(main, CompareConfig)
