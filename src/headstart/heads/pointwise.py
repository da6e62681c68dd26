"""What a step of K heads computes number by number, between the products of matrices: by torch's own operations.

On a GPU `pointwise_kernel` does the same in one launch each. B rows in a batch, W units of a layer, C classes.
"""

import torch
from torch import Tensor


def activated(hidden: Tensor, mask: Tensor | float) -> tuple[Tensor, Tensor]:
    """ReLU and dropout of (K, B, W), by a mask (K or 1, B, W) or 1: units, and their slopes. May change `hidden`."""
    hidden = hidden.relu_()
    return hidden * mask, (hidden > 0) * mask


def sloped(gradient: Tensor, slopes: Tensor, of_biases: Tensor) -> Tensor:
    """The gradient (K, B, W) before a layer's slopes, from that behind; its sum over the rows becomes `of_biases`."""
    gradient = gradient * slopes
    torch.sum(gradient, 1, keepdim=True, out=of_biases)
    return gradient


def cross_entropy(logits: Tensor, targets: Tensor, of_biases: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient (K, B, C) by the logits, whose sum over the rows becomes `of_biases`, and the losses (K,).

    With p = softmax(logits) and targets t (K or 1, B, C) the loss is −Σ t log p, and its gradient p Σ_c t − t.
    """
    log_probabilities = logits.log_softmax(-1)
    gradient = log_probabilities.exp() * targets.sum(-1, keepdim=True) - targets
    torch.sum(gradient, 1, keepdim=True, out=of_biases)
    return gradient, -(targets * log_probabilities).sum(2).sum(1)  # in one sum, torch gives each of its threads a part
