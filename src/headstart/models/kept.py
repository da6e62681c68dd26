"""Compiled nets that are kept: compiled once on a machine, and loaded by every later pass, prediction and check.

A package of torch's AOTInductor holds the machine code and the weights of one form of a net for one shape of batch.
Beside it lies what was measured to make the form, see `extraction.calibration`.
"""

import inspect
import logging
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from headstart.errors import CannotCompile, HeadstartError
from headstart.models.backbone import Forward
from headstart.models.torch_file import first_line
from headstart.support.files import put_in_place
from headstart.support.progress import say

logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # it reports a missing GPU on every CPU

MOST_BYTES = 8 * 2**30
"""Of all packages: those that have not been used for longest are removed. A ResNet50 takes 0.1 GB."""

Lowered = Callable[[nn.Module, Tensor], nn.Module]

MAKING, STALE_SECONDS = "making-", 86400.0
"""How folders are called in which something is compiled, and after what time a process that made one is dead."""
HOW = {"freezing": True, "cpp_cache_precompile_headers": False, "aot_inductor.precompile_headers": False}
"""Headers that are compiled before would take 150 MB and as long as the net itself, and are read once."""


class KeptForm(nn.Module):
    """A net that is compiled for each shape of batch when the first of them comes, if it was not compiled before.

    Attributes:
        net: (B, H, W, 3) uint8 → (B, D) float32.
        lowered: makes of the net what is compiled, such as one of fewer bits, for a batch like the one it gets.
        form: what distinguishes that from other forms of the net.
    """

    def __init__(self, net: nn.Module, lowered: Lowered = lambda net, pixels: net, form: str = "") -> None:
        super().__init__()
        self.net, self.lowered, self.form = net, lowered, form
        self._of_shape: dict[torch.Size, Forward] = {}
        self._paths: dict[torch.Size, Path] = {}  # finding one reads all weights
        self.eval()

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, H, W, 3) uint8 → (B, D) float32; raises CannotCompile."""
        self.prepare(pixels)
        return self._of_shape[pixels.shape](pixels)

    def prepare(self, pixels: Tensor) -> None:
        """Compiles the net for batches of this shape, or loads what was compiled before; raises CannotCompile."""
        if pixels.shape not in self._of_shape:
            self._of_shape[pixels.shape] = self._compiled(pixels)

    def is_kept(self, pixels: Tensor) -> bool:
        """Whether it was compiled for this shape of batch before."""
        with suppress(CannotCompile):
            return self._path(pixels).exists()
        return False

    def _path(self, pixels: Tensor) -> Path:
        if pixels.shape not in self._paths:
            self._paths[pixels.shape] = folder() / f"{identity(self.net, self.form, pixels)}.pt2"
        return self._paths[pixels.shape]

    def _compiled(self, pixels: Tensor) -> Forward:
        path = self._path(pixels)
        with suppress(Exception):  # not there, damaged, or of another system that shares the folder
            return _loaded(path)
        try:
            net = self.lowered(self.net, pixels)
            if (program := _program_of(net, pixels)) is None:
                return torch.compile(net, dynamic=False, options={"freezing": True})  # part by part, and not kept
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            say("compiling the net, once on this machine …")
            _compile(program, path)
            _remove_unused(path.parent)
            return _loaded(path)
        except HeadstartError:
            raise
        except Exception as error:  # of any kind: of torch, of the compiler that it starts, of the system
            raise CannotCompile(f"{type(error).__name__}: {first_line(error)}") from error


def folder() -> Path:
    """Where packages are kept, for this user alone: they are run as they are. CannotCompile if there is no place."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headstart" / "compiled"
    except RuntimeError:
        raise CannotCompile("this user has no home folder, and XDG_CACHE_HOME names no other") from None


def _loaded(path: Path) -> Forward:
    os.utime(path)  # it was used
    return torch._inductor.aoti_load_package(str(path))


def _program_of(net: nn.Module, pixels: Tensor) -> Any:
    """The net as one program; None if it decides by its values what to do next."""
    with suppress(torch._dynamo.exc.TorchDynamoException), torch.no_grad():
        return torch.export.export(net, (pixels,), strict=True)
    return None


def _compile(program: Any, path: Path) -> None:
    with TemporaryDirectory(dir=path.parent, prefix=MAKING) as temporary, torch.no_grad():
        made = Path(temporary, path.name)
        with patch.dict(os.environ, TORCHINDUCTOR_CACHE_DIR=temporary):  # its files would stay there for good
            torch._inductor.aoti_compile_and_package(program, package_path=str(made), inductor_configs=HOW)
        put_in_place(made, path)


def _remove_unused(kept: Path) -> None:
    """Removes the packages that were not used for longest, until the others take no more than `MOST_BYTES`.

    Also what processes that were killed left behind.
    """
    left = MOST_BYTES
    for making in kept.glob(f"{MAKING}*"):
        if time.time() - making.stat().st_mtime > STALE_SECONDS:
            shutil.rmtree(making, ignore_errors=True)
    for path in sorted(kept.glob("*.*"), key=lambda path: path.stat().st_mtime, reverse=True):
        left -= path.stat().st_size
        if left < 0:
            path.unlink(missing_ok=True)


def identity(net: nn.Module, form: str, pixels: Tensor) -> str:
    """Other for other nets, weights, shapes of batches, processors, numbers of threads and versions of torch."""
    digest = blake2b(digest_size=16)
    for word in (torch.__version__, *_processor(), torch.get_num_threads(), pixels.shape, form, repr(net)):
        digest.update(f"{word}\n".encode())
    for kind in dict.fromkeys(map(type, net.modules())):
        digest.update(_source_of(kind).encode())
    for name, tensor in chain(net.named_parameters(), net.named_buffers()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} {tensor.stride()}".encode())
        digest.update(tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _source_of(kind: type) -> str:
    with suppress(OSError, TypeError):  # made without a file
        return inspect.getsource(kind)
    return kind.__qualname__


def _processor() -> Iterator[str]:
    """Its kind and instructions."""
    yield torch.backends.cpu.get_cpu_capability()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        yield from dict.fromkeys(line for line in lines if line.startswith(("model name", "flags", "Features")))
    except OSError:
        yield platform.processor()
