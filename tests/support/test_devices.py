"""Where to compute is said in words, and the memory it takes is measured."""

import pytest
import torch
from helpers import pretend_cuda

from headstart.errors import SettingsError
from headstart.support import devices

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


def test_more_processes_than_gpus_take_them_in_turn(monkeypatch):
    taken = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    for rank in range(4):
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        devices.pick_device("auto")
    assert taken == [0, 1, 0, 1]


def test_the_peak_of_memory_grows_by_what_is_held():
    before = devices.peak_memory_bytes(CPU)
    held = torch.ones(2**28, dtype=torch.uint8) * 2
    assert held[0] == 2
    assert devices.peak_memory_bytes(CPU) >= max(before, 2**28)


def test_memory_is_what_the_narrowest_control_group_above_leaves(tmp_path, monkeypatch):
    """Batch systems limit groups in between; memory that holds cached files is free."""
    groups, own = tmp_path / "groups", "job_7/step_0/task"
    for folder, limit, usage, cached in (("", "max", 0, 0), ("job_7", 8e6, 5e6, 2e6), (own, "max", 1e6, 0)):
        (groups / folder).mkdir(parents=True, exist_ok=True)
        (groups / folder / "memory.max").write_text(f"{limit if limit == 'max' else int(limit)}\n")
        (groups / folder / "memory.current").write_text(f"{int(usage)}\n")
        (groups / folder / "memory.stat").write_text(f"anon 7\ninactive_file {int(cached)}\n")
    listed = tmp_path / "cgroup"
    listed.write_text(f"3:cpu:/else\n0::/{own}\n")
    monkeypatch.setattr(devices, "CONTROL_GROUPS", groups)
    monkeypatch.setattr(devices, "OWN_GROUPS", listed)
    assert devices.available_bytes(CPU) == 5_000_000


def test_what_is_sent_to_a_gpu_makes_the_host_wait_for_nothing():
    values = torch.arange(6)
    assert devices.sent(values, CPU) is values
    with pretend_cuda.cuda() as counts:
        there = devices.sent(values, torch.device("cuda"))
        assert there.is_cuda
        assert not counts.host_waits
        assert there.tolist() == values.tolist()
