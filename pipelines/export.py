"""A run → one file that other programs run without this package, checked on real images, with a card."""

from headstart import cli
from headstart.errors import RunError
from headstart.settings import ExportConfig, run_of


def main(config: ExportConfig) -> None:
    """Exports, checks, and describes the model."""
    from headstart import exporting, listing, model_card, run_parts, runs  # torch loads here, after --help has answered

    run = run_parts.RunFolder.open(run_of(config))
    folder = config.out or run.folder / config.format
    runs.make_folder(folder)
    checks = model_card.checks_of(run, list(listing.images_of(config.images)) if config.images else [])
    classifier = exporting.plain_classifier(run, config.weights)
    try:
        exported = exporting.export(classifier, checks.pixels, config.format, folder / f"model.{config.format}")
        model_card.write(run, exported, checks.stored, config.format)
    except OSError as error:
        raise RunError(f"The model cannot be written to {folder}: {error.strerror}.") from None
    megabytes = exported.path.stat().st_size / 1e6
    print(
        f"{exported.path}: {megabytes:.1f} MB, checked on {len(checks.pixels)} images: largest difference to the run "
        f"in fp32 {exported.difference:.1g}. How to serve it: {folder / 'model_card.md'}"
    )


if __name__ == "__main__":
    cli.run(main, ExportConfig, "Nothing was written: the same command starts again.")
