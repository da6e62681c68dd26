"""Files by torch.save that may be damaged, or come from a stranger: tensors alone, and none larger than its numbers."""

import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch


def loaded(path: Path) -> Any:
    """The content: tensors in any nesting, and never code; ValueError if it unpacks to more than its size."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise ValueError("it is compressed, which torch.save never does")
    return torch.load(path, map_location="cpu", weights_only=True)


def is_plain(value: Any) -> bool:
    """Whether it is a tensor as nets hold them: neither sparse nor quantized, and its numbers are there."""
    is_tensor = isinstance(value, torch.Tensor)
    return is_tensor and value.layout == torch.strided and value.device.type == "cpu" and not value.is_quantized


def refuse_strange(tensors: Mapping[str, Any]) -> None:
    """Raises ValueError unless all are plain tensors that hold every number that their shapes say."""
    for name, tensor in tensors.items():
        if not isinstance(tensor, torch.Tensor):
            raise ValueError(f"{name} is no tensor")
        if not is_plain(tensor) or not has_own_numbers(tensor):
            raise ValueError(f"{name} is sparse, quantized, or has a larger shape than numbers")


def has_own_numbers(tensor: Any) -> bool:
    """Whether it is a tensor, on any device, that holds every number that its shape says."""
    is_dense = isinstance(tensor, torch.Tensor) and tensor.layout == torch.strided
    return is_dense and tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


def first_line(error: Exception) -> str:
    """The reason in an error of torch, without its advice to load the file unsafely."""
    if isinstance(error, pickle.UnpicklingError):
        found = re.search(r"GLOBAL (\S+) was not an allowed global", str(error))
        if found:
            return f"it holds {found[1]} beside tensors, which is not loaded, since that could run code"
        return "it is damaged, or holds more than tensors"
    if "TorchScript" in str(error):
        return "it is a TorchScript program"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])[:200] or type(error).__name__
