"""The targets of a head, weighted and smoothed, and its dropout.

B rows in a batch, C classes, K heads.
"""

import torch
from torch import Tensor
from torch.nn import functional

from headstart.heads.features import Features
from headstart.settings.heads import ClassWeights


def class_weights(features: Features, kind: ClassWeights) -> Tensor:
    """(C,): 1, or N / (C · training images of the class), as scikit-learn's "balanced"; 0 for a class without any."""
    labels = features.labels[features.rows["train"]]
    if kind == "none":
        return torch.ones(len(features.classes), device=labels.device)
    counts = torch.bincount(labels, minlength=len(features.classes)).float()
    return torch.where(counts > 0, len(labels) / (len(counts) * counts), 0.0)


def smoothed_targets(labels: Tensor, size: int, class_weights: Tensor, label_smoothing: Tensor) -> Tensor:
    """Targets of a cross entropy that equals torch's with these weights and smoothing, for several batches at once.

    Source of label smoothing: Szegedy et al. 2016, arXiv:1512.00567, section 7.

    Args:
        labels: (n,).
        size: B, of a batch; the last may be short.
        class_weights: (C,).
        label_smoothing: (K or 1, 1, 1).

    Returns:
        (K or 1, n, C), of which `backpropagate` takes B rows.
    """
    truth = functional.one_hot(labels, len(class_weights)).float()
    spread = (1 - label_smoothing) * truth + label_smoothing / len(class_weights)
    sums = torch.cat([weights.sum().expand(len(weights)) for weights in class_weights[labels].split(size)])
    return spread * (class_weights / sums[:, None])


def dropout_mask(noise: Tensor, dropout: Tensor) -> Tensor:
    """Factors of hidden units: 0 with the head's probability, else 1 / (1 − probability), which keeps the mean.

    Source: Srivastava et al. 2014, JMLR 15, section 10 (inverted dropout).

    Args:
        noise: (B, width), uniform in [0, 1).
        dropout: (K, 1, 1) probabilities.

    Returns:
        (K, B, width).
    """
    return (noise >= dropout) / (1 - dropout).clamp(min=2**-24)  # 0.99999999 is 1 in fp32
