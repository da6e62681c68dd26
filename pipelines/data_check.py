"""Images → what the program takes them for, and a picture of some of each class; nothing is computed."""

import headstart.support.ctrl_c  # noqa: F401 - first, since the others take time
from headstart import cli
from headstart.settings import DataCheckConfig, data_of


def main(config: DataCheckConfig) -> None:
    """Lists the data set as `extract` does, says what was found, and draws the contact sheet."""
    from headstart.cache.known_splits import drawn_so_far
    from headstart.datasets import description, naming
    from headstart.report import contact_sheet

    manifest = drawn_so_far(naming.load_as_before(config))
    print(description.describe(manifest))
    path = config.out or naming.picture_of(data_of(config))
    unreadable = contact_sheet.draw(manifest, path)
    print(f"Some images of each class: {path.absolute()}")
    if unreadable:
        print("Of the images in it these cannot be read (extract tries all images, and lists all that cannot be read):")
        print("\n".join(f"  {line}" for line in unreadable))


if __name__ == "__main__":
    cli.run(main, DataCheckConfig)
