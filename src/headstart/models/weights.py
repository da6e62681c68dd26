"""What can be said of backbones and weights without loading them: names, digests, ResNet50's presets."""

import ast
import os
import sys
import tokenize
from hashlib import blake2b, file_digest
from importlib.machinery import PathFinder
from pathlib import Path

from headstart.errors import WeightsError, did_you_mean

RESNET50 = "resnet50"
TIMM = "timm:"
"""What the names of timm's nets begin with."""

FILE_DIGEST = "blake2b"
"""The word before the digest of a file of weights."""
OWN = "its own"
"""The weights of a net that comes with them: of a function of one's own."""

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
        guess = did_you_mean(weights, known_weights())
        raise WeightsError(f"--weights {weights} is neither a file nor one of {', '.join(known_weights())}.{guess}")
    with path.open("rb") as file:
        return f"{FILE_DIGEST} {file_digest(file, lambda: blake2b(digest_size=16)).hexdigest()}"


def is_of_file(digest: str) -> bool:
    """Whether a digest by `weights_digest` is that of a file."""
    return digest.startswith(FILE_DIGEST)


def is_own(backbone: str) -> bool:
    """Whether a backbone is a function of one's own: `package.module:function`."""
    return ":" in backbone and not backbone.startswith(TIMM)


def is_file_or_random(weights: str | None) -> bool:
    """Whether a digest of the weights can be had without loading them."""
    return weights is not None and (weights == "random" or Path(weights).is_file())


def source_digest(backbone: str) -> str:
    """Digest of the text of one's own function `package.module:function`, without importing it; empty for others.

    Where the module only has the function from another one, it is the module's text.
    """
    if not is_own(backbone):
        return ""
    module, _, function = backbone.partition(":")
    text = text_of(module)
    try:
        found = [node for node in ast.parse(text).body if getattr(node, "name", None) == function]
    except (SyntaxError, ValueError):  # told when the module is imported
        found = []
    source = (found and ast.get_source_segment(text, found[-1])) or text
    return blake2b(source.encode(), digest_size=16).hexdigest() if source else ""


def text_of(module: str) -> str:
    """The text of a module's file, without importing it; empty where it has none."""
    if (file := _file_of(module)) is None:
        return ""
    try:
        with tokenize.open(file) as content:  # in the encoding that it declares
            return content.read()
    except (SyntaxError, UnicodeDecodeError):  # told when the module is imported
        return file.read_text("latin-1")


def _file_of(module: str) -> Path | None:
    """The file of a module, found without running the packages around it."""
    places, file = [os.getcwd(), *sys.path], None
    for part in module.split("."):
        spec = PathFinder.find_spec(part, places)
        if spec is None:
            return None
        places, file = list(spec.submodule_search_locations or []), spec.origin
    return Path(file) if file and file.endswith(".py") else None


def describe_weights(weights: str) -> str:
    """Which weights a program uses, in a line that warns of an untrained net."""
    if weights == "random":
        return "weights: random. The net starts untrained: good for trying the pipeline, not for results."
    return f"weights: {weights}"
