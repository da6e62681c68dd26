"""What a head is trained for: weighted and smoothed targets, and dropout. B rows in a batch, C classes, K heads."""

import torch
from torch import Tensor
from torch.nn import functional

from headstart.heads.features import Features
from headstart.settings.heads import ClassWeights


def class_weights(features: Features, kind: ClassWeights) -> Tensor:
    """(C,): 1, or N / (C · images of the class in train), as scikit-learn's "balanced"; 0 for a class without any."""
    labels = features.labels[features.rows["train"]]
    if kind == "none":
        return torch.ones(len(features.classes), device=labels.device)
    counts = features.team.sum(torch.bincount(labels, minlength=len(features.classes))).float()
    return torch.where(counts > 0, counts.sum() / (len(counts) * counts), 0.0)


def smoothed_targets(
    labels: Tensor, size: int, class_weights: Tensor, label_smoothing: Tensor, row_weights: Tensor | None = None
) -> Tensor:
    """The targets (K or 1, n, C) for which `backpropagate` gives the loss of torch's cross_entropy in each batch.

    Takes labels (n,) of several batches of `size` rows, weights (C,), and label smoothing (K or 1, 1, 1). Weights of
    rows (n,) multiply those of their classes: each batch's loss is the weighted mean of its rows.
    Source of label smoothing: Szegedy et al. 2016, arXiv:1512.00567, section 7.
    """
    truth = functional.one_hot(labels, len(class_weights)).float()
    spread = (1 - label_smoothing) * truth + label_smoothing / len(class_weights)
    weights = class_weights[labels] if row_weights is None else class_weights[labels] * row_weights
    sums = torch.cat([batch.sum().expand(len(batch)) for batch in weights.split(size)])
    targets = spread * (class_weights / sums[:, None])
    return targets if row_weights is None else targets * row_weights[:, None]


def dropout_mask(noise: Tensor, dropout: Tensor) -> Tensor:
    """Factors (K, B, width) of hidden units, 0 or 1 / (1 − p), from noise (B, width) in [0, 1) and each head's p.

    Source: Srivastava et al. 2014, JMLR 15, section 10 (inverted dropout).
    """
    return (noise >= dropout) / (1 - dropout).clamp(min=2**-24)  # fp32 rounds 0.99999999 to 1
