"""The figures of a GPU: all of it runs, here on the CPU, and nothing that fails or is missing passes in silence."""

import json
import math
import runpy
import time
from functools import partial

import pytest
import torch
from helpers.processes import PIPELINES, run
from torchvision.models import resnet18

from headstart.benchmarks import gpu, needed, profiling
from headstart.benchmarks.gpu import Figure
from headstart.benchmarks.results import Results

CPU = torch.device("cpu")


def test_packages_that_a_python_lacks_are_named_with_a_command():
    assert needed.missing() == ""
    said = needed.missing({"torch": "torch", "no_such_module": "no-such-package", "nor_this": "Other"})
    assert "has no no-such-package, no Other: " in said
    assert "-m pip install no-such-package Other; or leave PYTHON= out" in said


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_nothing_is_measured_and_a_sentence_says_so(tmp_path):
    said = run("gpu", cwd=tmp_path)
    assert said.code == 2
    assert said.err.count("\n") == 1
    assert "sees no GPU here" in said.err
    assert list(tmp_path.iterdir()) == []


def test_figures_and_goals_and_what_failed_are_in_json_and_table(tmp_path):
    def section():
        yield Figure("pass", 8123.4, "images/s", goal=8000)
        yield Figure("head", 1.5, "s", goal=1, is_limit=True)
        raise RuntimeError("out of memory")

    results, lines = Results(CPU, benchmark={"rates": {"plain": [2.0], "ours": [8.0]}, "medians": {"ours": 8.0}}), []
    results.measure("first", section, lines.append)
    results.measure("second", lambda: iter([Figure("loss", math.nan, "")]), lines.append)
    results.save(tmp_path)
    found = json.loads((tmp_path / "figures.json").read_text())
    assert {name: figure["reached"] for name, figure in found["figures"].items()} == {
        "pass": True,
        "head": False,
        "loss": None,
    }
    assert found["failures"] == {"first": "RuntimeError: out of memory"}
    assert {"name", "driver", "torch"} <= found["card"].keys()
    table = (tmp_path / "table.md").read_text()
    assert "| pass | 8,123 images/s | ≥ 8,000: reached |" in table
    assert "| head | 1.5 s | ≤ 1: not reached |" in table
    assert "| first | failed: RuntimeError: out of memory | |" in table
    assert "| ours | 8 | 4.00 x plain |" in table
    assert lines[-1].split() == ["loss", "nan"]


def test_seconds_are_those_of_warm_runs():
    times = iter([0.3, 0.0, 0.0, 0.0])
    assert profiling.seconds(lambda: time.sleep(next(times)), CPU) < 0.3


def test_without_graphs_each_kernel_is_launched_by_itself():
    before = torch.cuda.graph
    with profiling.without_graphs(), pytest.raises(RuntimeError, match="by itself"):
        torch.cuda.graph(None)
    assert torch.cuda.graph is before


def test_a_trace_counts_waits_and_is_written(tmp_path):
    found = profiling.traced("work", lambda: torch.ones(3).sum().item(), CPU, tmp_path)
    assert found["aten::_local_scalar_dense"] == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["work.json.gz", "work.txt"]


@pytest.fixture
def small_net(monkeypatch):
    """Fine-tuning of a net with fewer operations: traces of many take long to write."""
    monkeypatch.setattr(gpu, "resnet50", resnet18)
    monkeypatch.setattr(gpu, "FinetuneConfig", partial(gpu.FinetuneConfig, backbone="resnet18"))


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_every_section_gives_its_figures(tmp_path, small_net):
    """In small sizes on the CPU: what a GPU will run for the first time has run."""
    bench = gpu.Bench(CPU, gpu.TRIAL, tmp_path, tmp_path)
    figures = {figure.name: figure for section in gpu.SECTIONS.values() for figure in section(bench)}
    assert all(figure.value >= 0 for figure in figures.values())
    goals = {name: figure.goal for name, figure in figures.items() if figure.goal}
    assert sorted(goals.values()) == [1, 3, 3000, 8000]
    assert {"pass.json.gz", "head-epoch.json.gz", "fine-tuning.json.gz"} <= {path.name for path in tmp_path.iterdir()}


def test_a_step_that_takes_too_long_is_ended():
    call = runpy.run_path(str(PIPELINES / "gpu.py"))["call"]
    assert call(["-c", "print('well')"], time.monotonic() + 60) == (0, "well\n")
    code, said = call(["-c", "import time; time.sleep(60)"], time.monotonic())
    assert code == 1
    assert "stopped after" in said
