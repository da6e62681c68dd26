"""The features of any net, found by running it: what its last linear layer takes. B images, T tokens, D features."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b

import torch
from torch import Tensor, nn

from headstart.errors import BackboneError
from headstart.models.backbone import Backbone
from headstart.models.fast import Watch, folded_copy, seeing
from headstart.models.tokens import TokenPool
from headstart.settings.ranges import Pool
from headstart.support.quantities import counted

SAME = 1e-4
"""Largest difference, relative to the largest feature, between an image alone and the same image beside another."""


@dataclass(frozen=True)
class Frozen:
    """A backbone without its classifier, in eval mode, without gradients."""

    net: nn.Module  # (B, 3, H, W) normalised pixels → (B, D) features
    made: Backbone  # what it was taken from, with its pixels; its `net` is the same without the classifier
    sample: Tensor  # (2, 3, H, W), what it was tried with
    features: int  # D
    largest: float  # of the absolute values of the sample's features
    classifier: str | None  # the name of the layer that was taken off; None if there was none

    @cached_property
    def folded(self) -> nn.Module:
        """A copy in which BatchNorm is part of the convolutions before it."""
        return folded_copy(self.net, self.sample)

    @cached_property
    def state_digest(self) -> str:
        """32 hex digits over the names, types, shapes and values of all weights and buffers."""
        digest = blake2b(digest_size=16)
        for name, tensor in sorted(self.net.state_dict().items()):
            if not isinstance(tensor, Tensor):  # of a layer that keeps more than tensors
                continue
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()


def features_of(made: Backbone, name: str, image_px: int, pool: Pool = "head") -> Frozen:
    """Takes the classifier off a net, freezes the rest and tries it on two random squares of `image_px`.

    Raises:
        BackboneError: it does not run on such squares, or its features are not one finite vector for each image that
            depends on this image alone.
    """
    net, sample = made.net.eval(), sample_of(image_px)
    for weight in net.parameters():  # which programs of TorchScript have, too
        weight.requires_grad_(False)
    watch = Watch(net)
    with _explained(name, made, image_px):
        if classifier := classifier_of(net, sample):
            net.set_submodule(classifier, nn.Identity().eval())
        net = TokenPool(net, pool, name).eval() if pool != "head" else net
        features, *alone = (_run(net, inputs).float() for inputs in (sample, sample[:1], sample[1:]))
    watch.refuse_changes(name)
    _refuse_no_features(features, alone, name)
    return Frozen(net, made, sample, features.shape[1], float(features.abs().max()), classifier or None)


def sample_of(image_px: int) -> Tensor:
    """(2, 3, image_px, image_px) random numbers, always the same; of zeros, untrained layers give the same zeros."""
    return torch.randn((2, 3, image_px, image_px), generator=torch.Generator().manual_seed(0))


def classifier_of(net: nn.Module, sample: Tensor) -> str | None:
    """The name of the linear layer whose output is that of the net; None if there is none."""
    calls: list[tuple[str, Tensor]] = []
    with seeing(net, nn.Linear, lambda name, layer, inputs, output: calls.append((name, output))):
        result = _run(net, sample)
    names = [name for name, output in calls if output.shape == result.shape and torch.equal(output, result)]
    return names[-1] if names else None


@torch.no_grad()  # in inference mode a net could keep a tensor that it cannot train with later
def _run(net: nn.Module, sample: Tensor) -> Tensor:
    output = net(sample.clone())  # which it may change
    if not isinstance(output, Tensor) or output.is_complex():
        kind = "tensor of complex numbers" if isinstance(output, Tensor) else type(output).__name__
        raise TypeError(f"it returns a {kind}, not a tensor of real ones: wrap it in a net that does")
    return output


@contextmanager
def _explained(name: str, made: Backbone, image_px: int) -> Iterator[None]:
    try:
        yield
    except BackboneError:
        raise
    except Exception as error:  # a net may fail with anything
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        own = f" Its own size is {made.image_px}: leave --image-px out." if image_px != made.image_px else ""
        raise BackboneError(
            f"{name} does not run on images of {image_px} x {image_px} pixels ({reason}).{own}"
        ) from None


def _refuse_no_features(features: Tensor, alone: list[Tensor], name: str) -> None:
    """Raises BackboneError unless the features are one finite vector for each image, whatever is beside it."""
    for output, count in ((features, 2), (alone[0], 1)):
        if output.ndim != 2 or len(output) != count or not output.numel():
            raise BackboneError(
                f"{name} gives features of shape {tuple(output.shape)} for {counted(count, 'image')}, not ({count}, "
                "D): one vector for each image is needed. Pool them in the net."
            )
    if not features.isfinite().all():
        raise BackboneError(f"{name} gives features that are not finite, on random pixels and with these weights.")
    difference = float((features - torch.cat(alone)).abs().max() / features.abs().max().clamp_min(1e-30))
    if difference > SAME:
        raise BackboneError(
            f"{name} gives an image other features beside another image than alone ({difference:.2g} of the largest "
            "value), even in eval mode: features of a cache must depend on one image only, and not on chance."
        )
