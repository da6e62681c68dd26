"""What a manifest lists, to compare it."""

from headstart.datasets.manifest import SPLITS, UNLABELLED


def listed(manifest):
    """{path: (class, split)}."""
    return {
        manifest.relative_path(row): (
            "" if manifest.labels[row] == UNLABELLED else manifest.classes[manifest.labels[row]],
            SPLITS[manifest.splits[row]],
        )
        for row in range(len(manifest))
    }


def labels(manifest):
    """{path: class}."""
    return {path: label for path, (label, _) in listed(manifest).items()}
