"""Where to compute is said in words, and the memory it takes is measured."""

import pytest
import torch

from headstart import devices
from headstart.errors import SettingsError

CPU = torch.device("cpu")


def test_a_device_that_is_not_there_is_refused_in_words(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for name in ("cuda", "mps"):
        with pytest.raises(SettingsError, match=f"--device {name}.*--device cpu"):
            devices.pick_device(name)
    assert devices.pick_device("auto") == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert devices.pick_device("auto") == torch.device("cuda")
    assert devices.pick_device("cpu") == CPU


def test_the_peak_of_memory_grows_by_what_is_held():
    before = devices.peak_memory_bytes(CPU)
    held = torch.ones(2**28, dtype=torch.uint8) * 2
    assert held[0] == 2
    assert devices.peak_memory_bytes(CPU) >= max(before, 2**28)
