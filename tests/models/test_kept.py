"""A net is compiled once on a machine; what is loaded later gives the same features."""

import os
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from headstart.errors import CannotCompile
from headstart.models import kept
from headstart.models.backbone import IMAGENET
from headstart.models.fast import FastBackbone, fast_module

PIXELS = torch.randint(0, 256, (4, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "headstart" / "compiled"


def net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    return FastBackbone(layers, IMAGENET, torch.float32).eval()


@pytest.mark.slow
@torch.inference_mode()
def test_what_was_compiled_is_loaded_later_and_gives_the_same_bits(folder, monkeypatch):
    features = kept.KeptForm(net())(PIXELS)
    assert torch.allclose(features, net()(PIXELS), atol=1e-5)
    (package,) = folder.iterdir()
    assert folder.stat().st_mode & 0o077 == 0, "others could put programs there"
    monkeypatch.setattr(kept, "_compile", lambda *_: pytest.fail("it was compiled before"))
    assert torch.equal(kept.KeptForm(net())(PIXELS), features)
    package.write_bytes(package.read_bytes()[:-100])
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder.parent.parent))
    assert torch.equal(kept.KeptForm(net())(PIXELS), features), "a damaged package is made anew"


class Deciding(nn.Module):
    """A net that no program without branches can be."""

    def forward(self, pixels):
        means = pixels.float().mean((1, 2))
        return means if means.sum() > 0 else -means


@pytest.mark.slow
@torch.inference_mode()
def test_a_net_that_decides_by_its_values_is_compiled_part_by_part_and_not_kept(folder):
    form = kept.KeptForm(Deciding())
    assert torch.allclose(form(PIXELS), Deciding()(PIXELS))
    assert not list(folder.glob("*"))


def test_another_net_form_or_shape_is_another_package(monkeypatch):
    threads = torch.get_num_threads()
    names = {
        kept.identity(net(), "", PIXELS),
        kept.identity(net(1), "", PIXELS),
        kept.identity(net().bfloat16(), "", PIXELS),
        kept.identity(net(), "int8", PIXELS),
        kept.identity(net(), "", PIXELS[:2]),
    }
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads + 1)
    names.add(kept.identity(net(), "", PIXELS))
    monkeypatch.setattr(torch, "__version__", "9.9")
    names.add(kept.identity(net(), "", PIXELS))
    assert len(names) == 7
    monkeypatch.undo()
    assert kept.identity(net(), "", PIXELS) == kept.identity(net(), "", PIXELS.clone())


def test_where_nothing_compiles_the_reason_is_a_sentence_and_nothing_is_left(folder, monkeypatch, tmp_path):
    compiler = tmp_path / "g++"
    compiler.write_text("#!/bin/sh\necho 'fatal error: no headers' >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setattr(torch._inductor.config.cpp, "cxx", (None, str(compiler)))
    form = fast_module(net().body, IMAGENET, "fp32", True, torch.device("cpu"))
    with pytest.raises(CannotCompile, match=r"cannot be compiled here .*--compile off") as raised:
        form.prepare(PIXELS)
    assert "\n" not in str(raised.value)
    assert list(folder.iterdir()) == []


def test_without_a_home_folder_nothing_is_kept_and_it_is_said(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: Path("~none").expanduser())
    assert not kept.KeptForm(net()).is_kept(PIXELS)
    with pytest.raises(CannotCompile, match="no home folder"):
        kept.KeptForm(net()).prepare(PIXELS)


def test_packages_that_were_not_used_for_long_make_room(folder, monkeypatch):
    folder.mkdir(parents=True)
    for number in range(5):
        (folder / f"{number}.pt2").write_bytes(bytes(100))
        os.utime(folder / f"{number}.pt2", (number, number))
    for name, seconds in (("making-killed", 0), ("making-now", time.time())):
        (folder / name).mkdir()
        (folder / name / "half.so").write_bytes(b"")
        os.utime(folder / name, (seconds, seconds))
    monkeypatch.setattr(kept, "MOST_BYTES", 250)
    kept._remove_unused(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["3.pt2", "4.pt2", "making-now"]
