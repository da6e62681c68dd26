"""Images → one pass through a frozen ResNet50 → features in one HDF5 file."""

from headstart import cli
from headstart.settings import ExtractConfig


def main(config: ExtractConfig) -> int:
    """Brings the cache up to date and says what there is. Exit code 1 if too many images are unreadable."""
    from headstart import updating

    report = updating.bring_up_to_date(config)
    print(updating.summary(report))
    unreadable = report.unreadable()
    for path, reason in unreadable[:20]:
        print(f"  unreadable: {path}: {reason}")
    if len(unreadable) > 20:
        print(f"  … and {len(unreadable) - 20} more ({updating.reasons_in_words(unreadable)})")
    too_many = len(unreadable) > config.max_unreadable * len(report.cache)
    if too_many:
        print(f"More than --max-unreadable {config.max_unreadable:.1%} are unreadable: mend them or allow more.")
    return int(too_many)


if __name__ == "__main__":
    cli.run(main, ExtractConfig, "Finished images are kept: the same command goes on where it was.")
