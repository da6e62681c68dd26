"""Learns and tests in one fold of cross-validation, with the heads and probes that runs have."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from headstart.crossvalidation.folds import Fold
from headstart.heads.features import Features
from headstart.heads.training import fit_quietly
from headstart.probes.probe import probe
from headstart.settings import HeadConfig, ProbeConfig
from headstart.settings.heads import AnyMethod
from headstart.settings.selection import Select


def tested(
    features: Features, fold: Fold, method: AnyMethod, seed: int, select: Select
) -> tuple[NDArray[np.float32], str]:
    """Learns with the default settings of a method, chooses by a figure of val, and predicts the test images.

    Probes then learn from train and val together, as in their runs. `seed` is that of a head.

    Returns:
        Probabilities (n, C), and what was chosen: `epoch 7`, `penalty 10`, `neighbours 20`.
    """
    rows = {split: torch.from_numpy(getattr(fold, split)).to(features.device) for split in ("train", "val", "test")}
    part = replace(features, rows=rows)
    if method == "head":
        fitted = fit_quietly(part, HeadConfig(seed=seed, select=select))
        return fitted.head.probabilities(part, "test"), f"epoch {fitted.best_epoch}"
    probed = probe(part, method, ProbeConfig().normalize, select, shown=False)
    ((name, value),) = probed.chosen.items()
    return probed.test, f"{name} {value:g}"


@torch.inference_mode()
def in_own_span(features: Features, rows: NDArray[np.int64]) -> Features:
    """The same rows in coordinates of their own span, where they are fewer than D: probes then cost much less.

    A rotation changes neither cosines nor products of rows, and so neither nearest neighbours nor what linear methods
    with a penalty on |W|² predict. Rows in a file stay as they are.
    """
    if not isinstance(features.values, torch.Tensor) or len(rows) >= features.width:
        return features
    used = torch.from_numpy(rows).to(features.device)
    values = features.values[used].double()
    squares, axes = torch.linalg.eigh(values @ values.T)  # values = U S Vᵀ, of which U S is needed
    rotated = torch.zeros((len(features.values), len(rows)), device=features.device)
    rotated[used] = (axes * squares.clamp(min=0).sqrt()).float()
    return replace(features, values=rotated, widths=())
