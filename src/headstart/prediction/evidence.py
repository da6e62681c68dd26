"""Where in an image the evidence for a class lies. B images, D features, C classes, K channels, h x w places.

A convolutional net ends in a feature map (B, K, h, w), whose mean over the places goes on. Two methods:

- exact: features are that mean and the head is linear, so that the score of a class is the mean of the scores that the
  head gives each place. Source: Zhou et al. 2016, arXiv:1512.04150, section 2.
- Grad-CAM: other layers lie behind the mean. They are replaced by their tangent at this image: the weight of a channel
  is the gradient of the score, summed over the places. Source: Selvaraju et al. 2017, arXiv:1610.02391, section 3;
  without its ReLU, to show also what speaks against a class, and with a constant that makes the mean over the places
  the score.
"""

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from headstart.errors import SettingsError
from headstart.models.backbone import normalised
from headstart.models.fast import FastBackbone
from headstart.prediction.classifier import Classifier

Method = Literal["exact", "Grad-CAM"]
MEANING: dict[Method, str] = {
    "exact": "exact, since the score of the image is the mean over the places",
    "Grad-CAM": "Grad-CAM, an estimate, since layers lie between the places and the score",
}
SAME = 1e-4
"""Largest difference, relative to the largest value, between what should be equal: sums in fp32 differ by 1e-6."""


class Evidence:
    """Maps of what speaks for a class and against it.

    Attributes:
        method: how they are made.
    """

    def __init__(self, classifier: Classifier) -> None:
        """Tries the net on one image of noise: the place of the map, and what follows it, are found by running.

        Args:
            classifier: one for which `is_plain` holds.

        Raises:
            SettingsError: its features are no function of a mean over the places of a feature map.
        """
        if classifier.beside:
            raise SettingsError("--maps is for runs on the features of one net, not of several side by side.")
        self.classifier = classifier
        px, random = classifier.geometry.image_px, torch.Generator().manual_seed(0)
        features, last = self._run(torch.randint(0, 256, (1, px, px, 3), dtype=torch.uint8, generator=random))
        direction = torch.randn(features.shape, generator=random).to(features)
        gradient = None if last is None else _gradient((features * direction).sum(), last)
        # The channels of a map come first, or in some nets last.
        fitting = [] if gradient is None else [dim for dim in (1, 3) if _is_even(gradient.movedim(dim, 3))]
        if last is None or not fitting:
            raise SettingsError(
                "--maps: the features of this net are no mean over several places of a feature map, as in "
                "transformers, in nets such as VGG, or where images are so small that one place is left. Leave it out."
            )
        self._channels = fitting[0]
        mean = last.movedim(self._channels, 3).mean((1, 2))
        is_exact = _is_linear(classifier.head) and mean.shape == features.shape and _is_close(mean, features)
        self.method: Method = "exact" if is_exact else "Grad-CAM"

    def of(self, pixels: NDArray[np.uint8], label: int) -> NDArray[np.float32]:
        """The score of a class less the mean score of all classes, at each place of an image.

        Args:
            pixels: (image_px, image_px, 3) RGB, by the classifier's geometry.
            label: of the class.

        Returns:
            (h, w). The mean is that of the image: its logit less the mean logit, which softmax does not see.
        """
        features, last = self._run(torch.tensor(pixels)[None])
        assert last is not None  # as when it was tried
        places = last.movedim(self._channels, 3)
        if self.method == "exact":
            length = self._stored(features).norm(dim=1) if self.classifier.unit_length else torch.ones(1).to(features)
            scores = _of_class(self.classifier.head(places / length[:, None, None, None]), label)
        else:
            score = _of_class(self.classifier.logits(features), label)
            gradient = _gradient(score.sum(), last).movedim(self._channels, 3).sum((1, 2))
            scores = score + (places - places.mean((1, 2), keepdim=True)) @ gradient[0]
        return scores[0].detach().cpu().numpy()

    def _stored(self, features: Tensor) -> Tensor:
        return features.to(self.classifier.stored).float()

    def _run(self, pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        """(1, H, W, 3) uint8 → features (1, D), and the last feature map, which they can be differentiated by."""
        backbone: Any = self.classifier.backbone
        inputs = normalised(pixels.to(self.classifier.device), backbone.mean, backbone.std).requires_grad_()
        seen = _LastMap()
        with seen:
            features = backbone.body(inputs.clone())  # which it may change
        return features, seen.last


def is_plain(classifier: Classifier) -> bool:
    """Whether its net is in fp32 and not compiled, so that it can be looked into."""
    return isinstance(classifier.backbone, FastBackbone) and classifier.backbone.dtype == torch.float32


class _LastMap(TorchFunctionMode):
    """Sees all that torch computes, by layers or by functions; keeps the last map (B, ., ., .) of several places.

    Where a map is changed in place, as by ReLU, it is the changed one.
    """

    last: Tensor | None = None

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and result.ndim == 4 and result.requires_grad:
            is_pooled = sum(size > 1 for size in result.shape[1:]) < 2
            self.last = self.last if is_pooled else result
        return result


def _gradient(of: Tensor, by: Tensor) -> Tensor:
    """Zero where the one does not depend on the other."""
    (gradient,) = torch.autograd.grad(of, by, allow_unused=True, materialize_grads=True)
    return gradient


def _is_even(gradient: Tensor) -> bool:
    """Whether a gradient (1, h, w, K) is the same at all places, and not zero: what follows takes their mean."""
    means = gradient.mean((1, 2), keepdim=True)
    return bool(gradient.any()) and _is_close(gradient, means.expand_as(gradient))


def _is_close(values: Tensor, others: Tensor) -> bool:
    return bool((values - others).abs().max() <= SAME * others.abs().max())


def _is_linear(head: nn.Module) -> bool:
    layers = [layer for layer in head.modules() if not isinstance(layer, nn.Sequential)]
    return len(layers) == 1 and isinstance(layers[0], nn.Linear)


def _of_class(logits: Tensor, label: int) -> Tensor:
    """(…, C) → (…)"""
    return logits[..., label] - logits.mean(-1)
