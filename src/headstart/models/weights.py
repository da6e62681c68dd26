"""Names, digests and presets of ResNet50's weights."""

from hashlib import blake2b, file_digest
from pathlib import Path

from headstart.errors import WeightsError, did_you_mean

PUBLISHED = {"IMAGENET1K_V1": "0676ba61", "IMAGENET1K_V2": "11ad3fa6"}
"""First digits of the SHA-256 of torchvision's own weight files, as their names carry it."""

SHORTER_PX = {"IMAGENET1K_V1": 256, "IMAGENET1K_V2": 232}
"""The shorter side in the weights' own presets, for a crop of 224; other weights follow V1."""


def shorter_px(image_px: int, weights: str) -> int:
    """Length of the shorter side of a picture before a square of `image_px` is cut from its middle."""
    return round(image_px * SHORTER_PX.get(weights, 256) / 224)


def known_weights() -> tuple[str, ...]:
    """The names that `--weights` takes instead of a file."""
    return (*PUBLISHED, "random")


def weights_digest(weights: str, seed: int) -> str:
    """What identifies weights, without loading them."""
    if weights in PUBLISHED:
        return f"sha256 {PUBLISHED[weights]}"
    if weights == "random":
        return f"seed {seed}"
    path = Path(weights)
    if not path.is_file():
        guess = did_you_mean(weights, known_weights()) or did_you_mean(weights.upper(), known_weights())
        raise WeightsError(f"--weights {weights} is neither a file nor one of {', '.join(known_weights())}.{guess}")
    with path.open("rb") as file:
        return f"blake2b {file_digest(file, lambda: blake2b(digest_size=16)).hexdigest()}"


def describe_weights(weights: str) -> str:
    """Which weights a program uses, in a line that warns of an untrained net."""
    if weights == "random":
        return "weights: random. The net starts untrained: good for trying the pipeline, not for results."
    return f"weights: {weights}"
