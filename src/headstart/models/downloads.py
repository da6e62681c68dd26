"""torchvision's published weights: downloaded once, their hash and content checked each time."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from torchvision.models import WeightsEnum

from headstart.errors import WeightsError
from headstart.models.torch_file import first_line


def published_state(net: str, weights: WeightsEnum) -> Mapping[str, Tensor]:
    """The state_dict of published weights, which are downloaded where they are not there; never runs code of a file.

    Raises:
        WeightsError: there is no network, or the file is damaged or another one.
    """
    try:
        _refuse_other_bytes(weights)
        return weights.get_state_dict(check_hash=True, weights_only=True)  # type: ignore[no-any-return]
    except WeightsError:
        raise
    except Exception as error:  # of the network, of the disk, or of a parser on a damaged download
        reason = getattr(error, "reason", first_line(error))
        raise WeightsError(
            f"The weights {weights.name} of {net} could not be downloaded to {torch.hub.get_dir()} ({reason}). Connect "
            "to a network once, give a file with --weights file.pth, or try the pipeline with --weights random "
            "(untrained)."
        ) from None


def _refuse_other_bytes(weights: WeightsEnum) -> None:
    """Checks a file downloaded before, which torchvision does not. Its name ends with the first digits of its hash."""
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    if not file.exists():
        return
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    if not digest.startswith(file.stem.rpartition("-")[2]):
        raise WeightsError(f"{file} does not hold {weights.name}: its SHA-256 differs. Delete it to download it again.")
