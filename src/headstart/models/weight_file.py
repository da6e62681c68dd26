"""A net's tensors in a file as people have it: inside a checkpoint, behind a prefix, with any classifier."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor

from headstart.errors import RunError, WeightsError
from headstart.models.torch_file import first_line, is_plain, loaded
from headstart.support.checksums import refuse_changed
from headstart.support.passing import refuse_passing
from headstart.support.quantities import some

SAFETENSORS = ".safetensors"
METADATA = "headstart"
"""Key of the pixel scale in the metadata of the state_dict of a fine-tuned net."""

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Wanted:
    """The tensors of a net but its classifier."""

    net: str
    """In words, such as `a ResNet50`."""
    shapes: Shapes
    classifier: str
    """The name of the layer that gives the logits; empty if there is none."""

    def among(self, tensors: Mapping[str, Tensor]) -> Shapes:
        """Shapes of those tensors that lie in the parts that the net has besides its classifier."""
        parts = {name.split(".")[0] for name in self.shapes}
        needed = _needed(tensors, self.classifier)
        return {name: shape for name, shape in needed.items() if name.split(".")[0] in parts}


def wanted(words: str, net: torch.nn.Module, classifier: str) -> Wanted:
    """The tensors of a net, whose classifier has this name."""
    return Wanted(words, _needed(net.state_dict(), classifier), classifier)


@dataclass(frozen=True)
class FoundWeights:
    """Tensors at one place in a file that are called like the net's."""

    keys: tuple[str, ...]
    """Keys of the nested dicts around them."""
    prefix: str
    """What their names begin with in the file; ends with a dot, or is empty."""
    tensors: dict[str, Tensor]
    """By their names without the prefix; the classifier is among them."""
    metadata: Mapping[str, Any]
    """What torch keeps beside a state_dict."""

    @property
    def place(self) -> str:
        """Where they are, in words; empty if the file is a plain state_dict."""
        keys = " / ".join(f"`{key}`" for key in self.keys)
        if not self.prefix:
            return f"under {keys}" if keys else ""
        return f"under {keys}, prefix `{self.prefix}`" if keys else f"under the prefix `{self.prefix}`"


def find(path: Path, net: Wanted) -> FoundWeights:
    """The one such net in a .pth or .safetensors file, whatever dicts, prefixes and classifiers are around it.

    Raises:
        WeightsError: there is none, or there are several that differ; the message says what was found.
    """
    groups = list(_groups(_read(path, net.net), set()))
    places = [place for group in groups for place in _places(group, net)]
    whole = [place for place in places if net.among(place.tensors) == net.shapes]
    if not whole:
        names = [name for group in groups for name in group.tensors]
        raise _refusal(
            path, net.net, _difference(places, net) if places else f"its tensors are {some(names) or 'in no dict'}"
        )
    if not all(_are_equal(whole[0], other, net) for other in whole[1:]):
        nets = "; ".join(place.place or "without a prefix" for place in whole)
        raise WeightsError(
            f"{path} holds {net.net} {len(whole)} times ({nets}). "
            f"Save the one that you want alone, for example: {_command(path, whole[-1])}"
        )
    return whole[0]


def _refusal(path: Path, net: str, reason: str) -> WeightsError:
    """The error for a file that does not hold the net."""
    return WeightsError(
        f"{path} does not hold the state_dict of {net} ({reason}). Save one with torch.save(model.state_dict(), …)."
    )


@cache
def resnet_wanted(net: str) -> Wanted:
    """The tensors of one of torchvision's ResNets."""
    with torch.device("meta"):
        return wanted(net, torchvision.models.get_model(net), "fc")


def _needed(tensors: Mapping[str, Tensor], classifier: str) -> Shapes:
    """Without the counts of batches: no forward pass reads them, and files by torch before 0.4.1 lack them."""
    return {
        name: tuple(tensor.shape)
        for name, tensor in tensors.items()
        if not name.endswith("num_batches_tracked") and not (classifier and name.startswith(f"{classifier}."))
    }


def _read(path: Path, net: str) -> Any:
    """The content of the file: tensors in any nesting, and never code."""
    try:
        refuse_changed(path, follow=True)
        if path.suffix.lower() != SAFETENSORS:
            return loaded(path)
        from safetensors.torch import load_file

        return load_file(path)
    except ImportError:
        raise WeightsError(
            f"{path} needs the package safetensors: .venv/bin/pip install 'headstart[safetensors]'"
        ) from None
    except RunError:  # of a fine-tuned run, whose file is damaged
        raise
    except Exception as error:  # parsers raise many kinds of errors for damaged files
        refuse_passing(WeightsError, path, error)
        raise _refusal(path, net, first_line(error)) from None


def _groups(content: Any, seen: set[int], *keys: str) -> Iterator[FoundWeights]:
    """The tensors directly in each of the nested dicts; a dict that is there twice is given once."""
    if not isinstance(content, Mapping) or id(content) in seen:
        return
    seen.add(id(content))
    tensors = {name: t for name, t in content.items() if isinstance(name, str) and is_plain(t)}
    yield FoundWeights(keys, "", tensors, getattr(content, "_metadata", {}))
    for key, inner in content.items():
        yield from _groups(inner, seen, *keys, str(key))


def _places(group: FoundWeights, net: Wanted) -> Iterator[FoundWeights]:
    """The tensors behind each prefix that stands before a name of one of the net's tensors."""
    words = [name.split(".") for name in group.tensors]
    ends = {tuple(name[:end]) for name in words for end in range(len(name)) if ".".join(name[end:]) in net.shapes}
    for prefix in sorted("".join(f"{word}." for word in end) for end in ends):
        behind = {name.removeprefix(prefix): t for name, t in group.tensors.items() if name.startswith(prefix)}
        yield replace(group, prefix=prefix, tensors=behind)


def _are_equal(one: FoundWeights, other: FoundWeights, net: Wanted) -> bool:
    return all(torch.equal(one.tensors[name], other.tensors[name]) for name in net.shapes)


def _command(path: Path, found: FoundWeights) -> str:
    """The Python code that saves one of several nets alone."""
    load, save = f"torch.load({str(path)!r}, weights_only=True)", "torch.save"
    if path.suffix.lower() == SAFETENSORS:
        load, save = f"safetensors.torch.load_file({str(path)!r})", "safetensors.torch.save_file"
    state = load + "".join(f"[{key!r}]" for key in found.keys)
    if found.prefix:
        state = f"{{name: t for name, t in {state}.items() if name.startswith({found.prefix!r})}}"
    return f"{save}({state}, {str(path.with_stem(path.stem + '-alone'))!r})"


def _difference(places: list[FoundWeights], net: Wanted) -> str:
    """How the tensors that come nearest to the net's differ from them."""
    expected = net.shapes
    found = max(places, key=lambda place: len(net.among(place.tensors).keys() & expected.keys()))
    shapes = net.among(found.tensors)
    missing, surplus = (sorted(names) for names in (expected.keys() - shapes.keys(), shapes.keys() - expected.keys()))
    differences = [f"{len(missing)} of {len(expected)} tensors are missing: {some(missing)}"] if missing else []
    differences += [f"{len(surplus)} tensors are none of {net.net}'s: {some(surplus)}"] if surplus else []
    for name in sorted(expected.keys() & shapes.keys()):
        if shapes[name] != expected[name]:
            differences.insert(0, f"{name} has the shape {shapes[name]}, not {expected[name]}")
            break
    if other := _torchvision_name(shapes):
        differences = [f"this looks like a {other}, since {differences[0]}"]
    return "; ".join([f"your weights are {found.place}"] * bool(found.place) + differences)


def _torchvision_name(shapes: Shapes) -> str | None:
    """The ResNet of torchvision that has these tensors."""
    names = torchvision.models.list_models(torchvision.models, include=["*resne*"])
    return next((name for name in names if resnet_wanted(name).shapes == shapes), None)
