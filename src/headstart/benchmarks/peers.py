"""The backbone alone in other runtimes, on all cores, from one ONNX file of the same net. B images.

int8 in OpenVINO: ONNX Runtime quantises the file statically (8 bits around every layer, weights per channel,
activations by their least and largest values on photos), and OpenVINO, which reads such files, multiplies in 8 bits. So
NNCF, OpenVINO's own quantiser, is not needed; it decides the accuracy, which is not measured here, not the speed.
"""

import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from headstart.benchmarks.extraction import Extraction
from headstart.benchmarks.rounds import Contestant
from headstart.extraction.sampling import samples
from headstart.models.fast import fast_module
from headstart.models.torch_file import first_line
from headstart.prediction.classifier import Classifier
from headstart.prediction.exporting import export, plain
from headstart.prediction.loading import Parts
from headstart.support.progress import say

Squares = NDArray[np.uint8]
"""(B, 3, image_px, image_px)."""
Program = Callable[[Squares], NDArray[np.float32]]
"""A batch → (B, D), the softmax of its features: what is exported is a classifier, here one without a head."""

NEEDED = {
    "ONNX Runtime fp32": ("onnx", "onnxscript", "onnxruntime"),
    "OpenVINO fp32": ("onnx", "onnxscript", "onnxruntime", "openvino"),
    "OpenVINO int8": ("onnx", "onnxscript", "onnxruntime", "openvino"),
}
"""The packages that a peer needs: its own, and those that write ONNX files."""


def missing() -> dict[str, str]:
    """Why a peer cannot run; empty where it can."""
    lacking = {peer: [name for name in packages if not find_spec(name)] for peer, packages in NEEDED.items()}
    advice = "is not installed: .venv/bin/pip install 'headstart[peers]'"
    return {peer: f"{' and '.join(names)} {advice}" if names else "" for peer, names in lacking.items()}


def contestants(extraction: Extraction, folder: Path) -> dict[str, Contestant]:
    """The peers that are installed; none, with a sentence, if the net cannot be brought to them."""
    try:
        return Peers(extraction, folder).contestants()
    except Exception as error:  # of any kind, of three packages: what was measured before is not lost by it
        say(f"OpenVINO and ONNX Runtime are left out: {type(error).__name__}: {first_line(error)}")
        return {}


class Peers:
    """The net of an extraction in every runtime that is installed.

    Attributes:
        batch: photos, as many as are in a batch of the extraction.
        classifier: our own form of what is exported.
        programs: by the name of the peer.
    """

    def __init__(self, extraction: Extraction, folder: Path) -> None:
        """Writes the files and loads them; raises ExportFailed if the net cannot be written as ONNX."""
        self.batches = max(1, len(extraction.manifest) // extraction.batch_size)
        self.batch, self.classifier = _photos(extraction), _without_head(extraction)
        self.programs: dict[str, Program] = {}
        reasons = missing()
        if all(reasons.values()):
            return
        exact, quantised = folder / "backbone.onnx", folder / "backbone-int8.onnx"
        exact.write_bytes(export(self.classifier, [self.batch[:3]], "onnx").content)
        self.programs["ONNX Runtime fp32"] = in_onnxruntime(exact)
        if not reasons["OpenVINO fp32"]:
            quantise(exact, quantised, self.batch)
            self.programs["OpenVINO fp32"] = in_openvino(exact, self.batch)
            self.programs["OpenVINO int8"] = in_openvino(quantised, self.batch)

    def contestants(self) -> dict[str, Contestant]:
        """Each runs the backbone again and again on one batch in memory: images per second."""
        return {f"backbone: {name}": partial(self._rate, run) for name, run in self.programs.items()}

    def _rate(self, run: Program) -> float:
        run(self.batch)
        start = time.perf_counter()
        for _ in range(self.batches):
            run(self.batch)
        return self.batches * len(self.batch) / (time.perf_counter() - start)


def _photos(extraction: Extraction) -> Squares:
    """Some of them, repeated where there are fewer than a batch takes."""
    size, workers = extraction.batch_size, extraction.extractor.workers
    pixels = next(samples(extraction.manifest, extraction.recipe.geometry, size, size, workers)).pixels.numpy()
    return np.ascontiguousarray(np.resize(pixels, (size, *pixels.shape[1:])).transpose(0, 3, 1, 2))


def _without_head(extraction: Extraction) -> Classifier:
    """The backbone as an exporter takes it."""
    extractor = extraction.extractor
    net = fast_module(extractor.loaded.folded, extractor.scale, "fp32", False, extractor.device)
    names = tuple(map(str, range(extraction.recipe.features)))
    return plain(Parts(((net, extraction.recipe),), nn.Identity(), names, unit_length=False, one_shape=False))


def in_onnxruntime(file: Path) -> Program:
    """A file in ONNX Runtime, with as many threads as torch has."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return lambda squares: session.run(None, {"pixels": squares})[0]


def in_openvino(file: Path, batch: Squares) -> Program:
    """A file in OpenVINO for batches like this one, with as many threads as torch has.

    What is not in eight bits stays in fp32, also where the processor would be faster in bf16.
    """
    import openvino

    core = openvino.Core()
    model = core.read_model(file)
    model.reshape(list(batch.shape))
    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",  # one batch at a time, on all threads
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "INFERENCE_PRECISION_HINT": "f32",
    }
    compiled = core.compile_model(model, "CPU", settings)
    return lambda squares: compiled(squares)[0]


def quantise(exact: Path, quantised: Path, batch: Squares) -> None:
    """Writes the file of eight bits, calibrated on a batch; all but its softmax, whose output is near 0."""
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quant_pre_process, quantize_static

    prepared = quantised.with_suffix(".prepared.onnx")
    quant_pre_process(exact, prepared)
    batches = iter([{"pixels": batch}])
    quantize_static(
        prepared,
        quantised,
        SimpleNamespace(get_next=lambda: next(batches, None)),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=[onnx.load(prepared).graph.node[-1].name],
    )
