"""Cached features and the pictures → what is wrong with the data: labels, copies, outliers; and a cleaned list."""

import headstart.support.ctrl_c  # noqa: F401 - first, since the others take time
from headstart import cli
from headstart.settings import AuditConfig


def main(config: AuditConfig) -> None:
    """Writes audit.csv and audit.html into the run folder of the data, prints how much was found."""
    from headstart.audit import run  # torch loads here, after --help has answered

    run.audit(config)


if __name__ == "__main__":
    cli.run(main, AuditConfig, "Nothing was saved: the same command starts again.")
