"""A run as one file for other programs, checked on real images. B images in a batch, C classes."""

import io
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.errors import ExportFailed, HeadstartError, SettingsError
from headstart.models.torch_file import first_line
from headstart.prediction.classifier import Classifier
from headstart.prediction.loading import Parts, parts_of
from headstart.runs.run import Run
from headstart.settings import ExportFormat

LARGEST_DIFFERENCE = 1e-4
"""Between the probabilities of the file and of the run, both in fp32."""

Squares = Sequence[NDArray[np.uint8]]
"""(n, 3, image_px, image_px) for each input of a model: several where nets side by side see different squares."""
Serve = Callable[..., NDArray[np.float32]]
"""(B, 3, image_px, image_px) uint8 for each input → (B, C) probabilities."""


@dataclass(frozen=True)
class Exported:
    """The content of an exported file, and how it was checked."""

    content: bytes
    form: ExportFormat
    difference: float
    """The largest of the `probabilities` (n, C) of the file to those of the run in fp32, for the checked images."""
    probabilities: NDArray[np.float32]


def plain_classifier(run: Run, weights: str | None) -> Classifier:
    """The run in fp32 on the CPU, without the rounding of stored features.

    Rounding enlarges differences: two programs that differ in a last digit would differ by a whole step after it.
    """
    return plain(parts_of(run, weights, torch.device("cpu"), "fp32", "off"))


def plain(parts: Parts) -> Classifier:
    """A `plain_classifier` of parts that are in fp32 on the CPU."""
    nets = tuple((net, replace(recipe, storage="float32")) for net, recipe in parts.nets)
    classifier = Classifier(replace(parts, nets=nets))
    return classifier.requires_grad_(False).to(memory_format=torch.contiguous_format)


def export(classifier: Classifier, squares: Squares, form: ExportFormat) -> Exported:
    """Writes a `plain_classifier` into one file, checked with the squares of real images."""
    write, serve = {"pt2": (_pt2, _serve_pt2), "onnx": (_onnx, _serve_onnx)}[form]
    try:
        content = write(classifier)
        probabilities = _in_batches(serve(content), squares)
    except HeadstartError:
        raise
    except Exception as error:  # of any kind: a net may do what such a file cannot hold
        raise ExportFailed(
            f"The net cannot be written as {form}: {type(error).__name__}: {first_line(error)}. In such a net "
            "nothing may branch on the values of pixels, and the size of a batch must be read as x.shape[0], not as "
            f"len(x). make predict runs the net as it is{', and --format pt2 may do' * (form == 'onnx')}."
        ) from error
    difference = float(np.abs(probabilities - _in_batches(_serve(classifier), squares)).max())
    if not difference <= LARGEST_DIFFERENCE:
        raise ExportFailed(
            f"The exported model differs from the run by {difference:.2g} on {len(squares[0])} images (at most "
            f"{LARGEST_DIFFERENCE:g} is allowed): nothing was written. Please report this, with the versions of torch "
            "and onnxruntime."
        )
    return Exported(content, form, difference, probabilities)


def input_names(count: int) -> list[str]:
    """`pixels`, and of several inputs `pixels_2` and so on."""
    return ["pixels", *(f"pixels_{number}" for number in range(2, count + 1))]


def _in_batches(serve: Serve, squares: Squares) -> NDArray[np.float32]:
    """All images, in batches of 1, 2, 3, …, so that a file that takes only one batch size fails."""
    ends, count = np.cumsum(np.arange(1, len(squares[0]))), len(squares[0])
    parts = zip(*(np.split(each, ends[ends < count]) for each in squares), strict=True)
    return np.concatenate([serve(*part) for part in parts])


def _serve(module: torch.nn.Module) -> Serve:
    @torch.inference_mode()
    def serve(*squares: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.asarray(module(*map(torch.from_numpy, squares)))

    return serve


def _example(classifier: Classifier) -> tuple[tuple[Tensor, ...], dict[str, Any]]:
    """Arguments to trace with, and which of their sizes may vary. Two images: a size of 1 would become fixed."""
    batch = {0: torch.export.Dim("batch", min=1)}
    sides = [geometry.image_px for geometry in classifier.geometries]
    more = {"more": (batch,) * len(sides[1:])} if sides[1:] else {}
    return tuple(torch.zeros((2, 3, side, side), dtype=torch.uint8) for side in sides), {"pixels": batch, **more}


def _traced(classifier: Classifier) -> torch.export.ExportedProgram:
    """The classifier as a graph, without the stack traces that would carry paths of this machine into the file."""
    arguments, dynamic_shapes = _example(classifier)
    program = torch.export.export(classifier, arguments, dynamic_shapes=dynamic_shapes)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    return program


def _pt2(classifier: Classifier) -> bytes:
    content = io.BytesIO()
    torch.export.save(_traced(classifier), content)
    return content.getvalue()


def _serve_pt2(content: bytes) -> Serve:
    return _serve(torch.export.load(io.BytesIO(content)).module())


def _onnx(classifier: Classifier) -> bytes:
    try:
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise SettingsError(
            f"--format onnx needs the package {error.name}: .venv/bin/pip install onnx onnxscript onnxruntime"
        ) from None
    arguments, dynamic_shapes = _example(classifier)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "# The axis name: batch", UserWarning)  # several inputs have it in common
        program = torch.onnx.export(
            _traced(classifier),
            arguments,
            dynamo=True,
            dynamic_shapes=dynamic_shapes,
            input_names=input_names(len(classifier.geometries)),
            output_names=["probabilities"],
            external_data=False,
            verbose=False,
        )
    assert program is not None  # only a call that names a file gives nothing back
    sides = [geometry.image_px for geometry in classifier.geometries]
    about = {"classes": classifier.classes, "image_px": sides if sides[1:] else sides[0]}
    program.model.metadata_props.update({name: json.dumps(value) for name, value in about.items()})
    return bytes(program.model_proto.SerializeToString())


def _serve_onnx(content: bytes) -> Serve:
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    return lambda *squares: session.run(["probabilities"], dict(zip(names, squares, strict=True)))[0]
