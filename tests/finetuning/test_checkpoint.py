"""A checkpoint belongs to its run, appears whole or not at all, and never runs code."""

import errno
import pickle

import pytest
import torch
from torch import nn

from headstart.errors import DataWarning, RunError
from headstart.finetuning.checkpoint import Checkpoint, refuse_misfit

STATE = {"net": {"weight": torch.arange(3.0)}, "history": [{"epoch": 1, "val_loss": float("nan")}], "numbers": (3, 0.5)}


def test_what_is_saved_comes_back(tmp_path):
    checkpoint = Checkpoint(tmp_path, {"lr": 1e-3, "hidden": (256,)})
    assert checkpoint.load() is None
    checkpoint.save(STATE)
    found = checkpoint.load()
    assert found is not None
    assert torch.equal(found["net"]["weight"], STATE["net"]["weight"])
    assert found["numbers"] == (3, 0.5)
    assert found["history"][0]["epoch"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pth"]
    checkpoint.path.unlink()
    assert checkpoint.load() is None


def test_another_runs_checkpoint_is_not_taken_up(tmp_path):
    Checkpoint(tmp_path, {"lr": 1e-3}).save(STATE)
    assert Checkpoint(tmp_path, {"lr": 1e-4}).load() is None


@pytest.mark.parametrize("content", [b"", b"text", pickle.dumps({"state": {}}, 2)])
def test_a_damaged_checkpoint_is_none(tmp_path, content):
    checkpoint = Checkpoint(tmp_path, {})
    checkpoint.path.write_bytes(content)
    with pytest.warns(DataWarning, match=r"checkpoint\.pth cannot be read \(.+\): the training starts again"):
        assert checkpoint.load() is None


def test_a_checkpoint_never_runs_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return (tmp_path.joinpath("ran").touch, ())

    checkpoint = Checkpoint(tmp_path, {})
    torch.save({"identity": "{}", "state": Evil()}, checkpoint.path)
    with pytest.warns(DataWarning, match="could run code"):
        assert checkpoint.load() is None
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "error", [MemoryError(), OSError(errno.EMFILE, "many"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_one_that_cannot_be_read_now_is_not_replaced_by_a_training_from_the_start(tmp_path, monkeypatch, error):
    saved = Checkpoint(tmp_path, {})
    saved.save(STATE)

    def failing(path):
        raise error

    monkeypatch.setattr("headstart.finetuning.checkpoint.loaded", failing)
    with pytest.raises(RunError, match=r"checkpoint\.pth cannot be read now: .+ Mend that"):
        saved.load()


def test_a_full_device_says_nothing_about_the_file(tmp_path):
    """As where another program has filled a GPU before the training goes on."""
    with pytest.raises(torch.OutOfMemoryError), Checkpoint(tmp_path, {}).explaining():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")


class WithMore(nn.Linear):
    """Keeps a text in its state, and a tensor of fewer numbers than its shape says."""

    def __init__(self):
        super().__init__(2, 2)
        self.register_buffer("wide", torch.zeros(1, 3).expand(4, 3))

    def get_extra_state(self):
        return "more"

    def set_extra_state(self, state):
        assert state == "more"


def test_a_net_that_keeps_more_than_tensors_goes_on(tmp_path):
    net, saved = WithMore(), Checkpoint(tmp_path, {})
    history = [{"epoch": 1}]
    rest = {"best_epoch": 1, "precision": "fp32", "unreadable": [], "numbers": (1, 0.5, 0.5)}
    saved.save({"best": net.state_dict(), "history": history, **rest})
    refuse_misfit(saved.load(), net, 3, ["epoch"])
    saved.save({"best": {**net.state_dict(), "weight": torch.zeros(1, 1).expand(2, 2)}, "history": history, **rest})
    with pytest.raises(ValueError, match="best epoch is another"):
        refuse_misfit(saved.load(), net, 3, ["epoch"])


def test_one_that_cannot_be_written_leaves_the_one_before(tmp_path, monkeypatch):
    checkpoint = Checkpoint(tmp_path, {})
    checkpoint.save(STATE)

    def full(content, path):
        path.write_bytes(b"a part")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(RunError, match="cannot be written: No space left on device"):
        checkpoint.save({})
    monkeypatch.undo()
    found = checkpoint.load()
    assert found is not None
    assert found["numbers"] == (3, 0.5)
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pth"]
