"""What a manifest lists, to compare it."""

from headstart.datasets.manifest import SPLITS, UNDRAWN, UNLABELLED


def listed(manifest):
    """{path: (class, split)}; the split is `undrawn` where it is drawn from bytes."""
    return {
        manifest.relative_path(row): (
            "" if manifest.labels[row] == UNLABELLED else manifest.classes[manifest.labels[row]],
            "undrawn" if manifest.splits[row] == UNDRAWN else SPLITS[manifest.splits[row]],
        )
        for row in range(len(manifest))
    }


def labels(manifest):
    """{path: class}."""
    return {path: label for path, (label, _) in listed(manifest).items()}
