"""A run → one file that other programs run without this package, checked on real images, with a card."""

from headstart import cli
from headstart.settings import ExportConfig, run_of


def main(config: ExportConfig) -> None:
    """Exports, checks, and describes the model."""
    from headstart.prediction import exporting, loading, model_card  # torch loads here, after --help has answered

    run = loading.open_run(run_of(config))
    folder = config.out or run.folder / config.format
    checks = model_card.checks_of(run, config.images)
    exported = exporting.export(exporting.plain_classifier(run, config.weights), checks.pixels, config.format)
    model = model_card.write(run, exported, checks.stored, folder)
    print(
        f"{model}: {len(exported.content) / 1e6:.1f} MB, checked on {len(checks.pixels)} images: largest difference to "
        f"the run in fp32 {exported.difference:.1g}. How to serve it: {folder / 'model_card.md'}"
    )


if __name__ == "__main__":
    cli.run(main, ExportConfig, "Nothing was written: the same command starts again.")
