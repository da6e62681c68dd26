"""A run → one file that other programs run without this package, checked on real images, with a card."""

import headstart.support.ctrl_c  # noqa: F401 - first, since the others take time
from headstart import cli
from headstart.settings import ExportConfig


def main(config: ExportConfig) -> None:
    """Exports, checks, and describes the model."""
    from headstart.prediction import programs  # torch loads here, after --help has answered

    programs.export(config)


if __name__ == "__main__":
    cli.run(main, ExportConfig, "Nothing was written: the same command starts again.")
