"""Forms of the backbone: rows are rates of work that was done, in processes of their own and in other runtimes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.processes import ran, run

from headstart.benchmarks import forms, peers, photos, tables
from headstart.benchmarks.forms import Form
from headstart.cache.feature_cache import FeatureCache
from headstart.cache.layout import DONE
from headstart.models.precision import compiler_fault
from headstart.settings import ExtractConfig

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
SMALL = ExtractConfig(backbone="resnet18", weights="random", image_px=64, batch_size=4, workers=1, device="cpu")


@pytest.fixture
def manifest(tmp_path, make_photos):
    return photos.gather(make_photos({"cat": 1, "dog": 1}), tmp_path / "gathered", 8)


@pytest.mark.skipif(bool(compiler_fault(CPU)), reason="nothing can be compiled here")
def test_a_warm_process_loads_what_a_cold_one_has_compiled(tmp_path, manifest, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as in this process, which loads it, too
    form = Form.of("fp32 compiled", manifest, SMALL, tmp_path)

    def kept() -> dict[Path, int]:
        return {path: path.stat().st_ino for path in form.folder.rglob("*.pt2")}

    processes = form.processes("fp32 compiled")
    assert list(processes) == ["process: fp32 compiled, cold", "process: fp32 compiled, warm"]
    cold, warm = processes.values()
    before = form.folder / "headstart" / "compiled" / "before.pt2"
    before.parent.mkdir(parents=True)
    before.touch()
    assert cold() > 0
    first = kept()
    assert len(first) == 1
    assert before not in first, "nothing was kept when it began"
    assert warm() > 0
    assert form.backbone()() > 0
    assert kept() == first, "neither compiled again"
    assert (FeatureCache(form.folder / "features.h5").status == DONE).sum() == len(manifest)


def test_a_process_that_fails_has_done_no_work_and_its_words_are_said(tmp_path, manifest, capsys):
    config = ExtractConfig(backbone="resnet18", weights="no-such-file.pt", device="cpu")
    assert Form.of("fp32 eager", manifest, config, tmp_path).warm() == 0
    assert "--weights no-such-file.pt is neither a file nor" in capsys.readouterr().out


def test_what_the_machine_cannot_do_is_named(monkeypatch):
    monkeypatch.setattr(forms, "bf16_is_native", lambda device: False)
    assert forms.obstacle("bf16 eager", CPU) == "the processor does not multiply in bf16 by itself"
    monkeypatch.setenv("PATH", "")
    assert "needs a C++ compiler" in forms.obstacle("fp32 compiled", CPU)
    assert forms.obstacle("fp32 eager", CPU) == forms.obstacle("auto", CPU) == ""
    monkeypatch.setattr(peers, "find_spec", lambda name: name != "openvino" or None)
    reasons = peers.missing()
    assert reasons["ONNX Runtime fp32"] == ""
    reason = "openvino is not installed: .venv/bin/pip install 'headstart[peers]'"
    assert tables.left_out(reasons) == [f"left out: OpenVINO fp32, OpenVINO int8: {reason}"]


def test_what_no_other_runtime_takes_costs_the_other_rows_nothing(tmp_path, manifest, monkeypatch, capsys):
    monkeypatch.setattr(peers, "export", lambda *_: 1 / 0)
    extraction = Form.of("fp32 eager", manifest, SMALL, tmp_path).extraction()
    assert peers.contestants(extraction, tmp_path) == {}
    assert "are left out: ZeroDivisionError" in capsys.readouterr().out


def test_other_runtimes_compute_the_same_net(tmp_path, manifest):
    others = peers.Peers(Form.of("fp32 eager", manifest, SMALL, tmp_path).extraction(), tmp_path)
    with torch.inference_mode():
        ours = others.classifier(torch.from_numpy(others.batch)).numpy()
    assert ours.shape == (4, 512)
    spread = (ours - ours.mean(axis=1, keepdims=True)).std()
    assert list(others.programs) == [name for name, reason in peers.missing().items() if not reason]
    for name, program in others.programs.items():
        close = 0.2 if name.endswith("int8") else 1e-3
        assert np.abs(program(others.batch) - ours).mean() < close * spread, name
    assert min(rate() for rate in others.contestants().values()) > 0


def test_the_file_of_eight_bits_is_multiplied_in_eight_bits(tmp_path, manifest):
    """Otherwise the row would be that of fp32 under another name."""
    openvino = pytest.importorskip("openvino")
    peers.Peers(Form.of("fp32 eager", manifest, SMALL, tmp_path).extraction(), tmp_path)
    compiled = openvino.Core().compile_model(tmp_path / "backbone-int8.onnx", "CPU")
    about = [node.get_rt_info() for node in compiled.get_runtime_model().get_ops()]
    types = [each["runtimePrecision"] for each in about if each["layerType"] == "Convolution"]
    assert types == ["u8"] * 20


def test_the_program_measures_processes_and_backbones(tmp_path, make_photos, monkeypatch):
    monkeypatch.setattr(forms, "FORMS", {name: forms.FORMS[name] for name in ("auto", "fp32 eager")})
    small = ["--images", 8, "--image-px", 64, "--batch-size", 4, "--workers", 1, "--device", "cpu"]
    said = ran("benchmark", "--backbone", "resnet18", "--forms", 1, "--rounds", 2, *small, cwd=tmp_path).out
    rates = json.loads((tmp_path / "data" / "benchmark.json").read_text())["rates"]
    processes = ["process: plain", "process: auto, cold", "process: auto, warm", "process: fp32 eager"]
    installed = [f"backbone: {name}" for name, reason in peers.missing().items() if not reason]
    assert list(rates) == [*processes, "backbone: fp32 eager", *installed]
    assert all(len(rates[name]) == 1 for name in processes)
    assert all(min(values) > 0 for values in rates.values())
    assert "x process: plain" in said
    assert all(reason in said for reason in peers.missing().values())


def test_forms_are_for_one_backbone(tmp_path):
    said = run("benchmark", "--backbone", "resnet18 resnet34", "--forms", 1, "--device", "cpu", cwd=tmp_path)
    assert said.code == 2
    assert "--forms is for one backbone on a processor" in said.err


def test_our_forms_are_compared_with_the_peer_of_the_same_format_where_it_ran():
    rates = {"process: plain": [4.0], "process: int8, warm": [8.0], "backbone: fp32 eager": [2.0]}
    rates |= {"backbone: int8": [9.0], "backbone: OpenVINO int8": [10.0]}
    said = [tables.comparison(rates, name) for name in rates]
    compared = ["", "2.00 x process: plain", "", "0.90 x backbone: OpenVINO int8", "5.00 x backbone: fp32 eager"]
    assert said == compared
    del rates["backbone: OpenVINO int8"]
    assert tables.comparison(rates, "backbone: int8") == "4.50 x backbone: fp32 eager"
