"""What metrics.json says is believed only if it can be; what cannot be read now is not called damage."""

import errno
import json

import pytest

from headstart.errors import RunError
from headstart.runs import metrics
from headstart.runs.predictions import COLUMNS, FILE, read_classes
from headstart.runs.run import read_config
from headstart.support import checksums
from headstart.support.passing import PASSING

SOUND = {"kind": "head", "dataset": "d", "test": {"images": 9}, "val": {"accuracy": 0.5}}


@pytest.fixture
def run(tmp_path):
    (tmp_path / "metrics.json").write_text(json.dumps(SOUND))
    (tmp_path / FILE).write_text(",".join([*COLUMNS, "p_a"]) + "\n")
    return tmp_path


@pytest.mark.parametrize("error", [OSError(number, "") for number in PASSING] + [MemoryError()], ids=str)
def test_an_error_that_may_pass_is_not_answered_by_moving_the_run_away(run, error, monkeypatch):
    def failing(*_, **__):
        raise error

    for module, name in ((metrics, "read_json"), (checksums, "open_to_read")):
        monkeypatch.setattr(module, name, failing)
    monkeypatch.setattr("headstart.runs.predictions.refuse_special", failing)
    for read, file in ((metrics.read, "metrics.json"), (read_classes, FILE)):
        with pytest.raises(RunError, match=rf"{file} cannot be read now: .+ Mend that, and give the same command"):
            read(run)


def test_settings_that_cannot_be_read_now_are_not_those_of_another_run(run, monkeypatch):
    def failing(path):
        raise OSError(errno.ESTALE, "away")

    assert read_config(run) is None
    monkeypatch.setattr("headstart.runs.run.read_json", failing)
    with pytest.raises(RunError, match=r"config\.json cannot be read now"):
        read_config(run)


def test_other_errors_name_the_file_and_what_to_do(run):
    (run / "metrics.json").unlink()
    (run / "metrics.json").mkdir()
    with pytest.raises(RunError, match=r"metrics\.json cannot be read .* move the folder away"):
        metrics.read(run)


def test_where_checksums_cannot_be_read_now_no_file_passes_as_unchanged(run, monkeypatch):
    def failing(path):
        raise OSError(errno.EIO, "bad")

    monkeypatch.setattr(checksums, "read_json", failing)
    with pytest.raises(RunError, match=r"metrics\.json cannot be read now"):
        checksums.refuse_changed(run / FILE)
