"""Images → what the program takes them for, and a picture of some of each class; nothing is computed."""

from headstart import cli
from headstart.settings import DataCheckConfig, check_path, data_of


def main(config: DataCheckConfig) -> None:
    """Lists the data set as `extract` does, says what was found, and draws the contact sheet."""
    from headstart.datasets import description, labelled, naming
    from headstart.report import contact_sheet

    how = config.with_listing(naming.listing_kept(data_of(config)))
    manifest = labelled.load(data_of(config), config.seed, how)
    print(description.describe(manifest))
    path = check_path(config)
    for line in contact_sheet.draw(manifest, path):
        print(f"unreadable: {line}")
    print(f"Some images of each class: {path}")


if __name__ == "__main__":
    cli.run(main, DataCheckConfig)
