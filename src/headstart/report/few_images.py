"""What helps where test images are few: cross-validation, which tests on all images in turn."""

from headstart.runs.run import Run
from headstart.settings.base import is_missing
from headstart.settings.command import command
from headstart.support.quantities import counted

FEW = 100
"""Test images below which an accuracy is known to no better than 5 to 10 points either way."""


def advice(run: Run | None) -> str:
    """`Only 42 test images. Cross-validation tests on all images in turn: make cv DATA=photos`.

    `run` is the best on frozen features; empty if there is none, it has enough test images, or its data are gone.
    """
    if run is None or run.test_images >= FEW or not run.data or is_missing(run.data):
        return ""
    few = f"Only {counted(run.test_images, 'test image')}" if run.test_images else "No test images"
    cv = command("cv", run.data, backbone=run.backbone, listing=run.listing)
    return f"{few}. Cross-validation tests on all images in turn: {cv}"
