"""The head that says which class an image looks like, learned from the labelled images. n images."""

from dataclasses import replace

import numpy as np
import torch

from headstart.cache.feature_cache import FeatureCache
from headstart.crossvalidation.folds import groups_of, stratified_folds
from headstart.errors import CacheError
from headstart.heads.features import Features
from headstart.heads.stack import Head
from headstart.probes.probe import probe
from headstart.settings import ChooseConfig

PARTS = 5
"""One of so many of the labelled images chooses the penalty: a split val of few images cannot tell how sure to be."""


def learned(features: Features, cache: FeatureCache, config: ChooseConfig) -> Head:
    """Learns from all images of train and val; those of test stay unseen, since they will judge what comes of it.

    Copies, and images of one group, are not divided where the penalty is chosen, by log loss: how sure it is counts.
    """
    manifest, rows = cache.manifest, np.sort(np.concatenate([cache.rows("train"), cache.rows("val")]))
    copies = np.unique(cache.digests[rows], axis=0, return_inverse=True)[1].reshape(-1)
    groups = groups_of(copies, *([] if manifest.groups is None else [manifest.groups[rows]]))
    parts = min(PARTS, len(np.unique(groups)))
    if parts < 2:
        raise CacheError(f"{cache.path} has too few different labelled images in train and val to learn from.")
    order = np.random.default_rng(config.seed)
    chooses = stratified_folds(manifest.labels[rows], groups, parts, order) == 0
    of_splits = {"train": rows[~chooses], "val": rows[chooses], "test": rows[:0]}
    on_device = {split: torch.from_numpy(own).to(features.device) for split, own in of_splits.items()}
    head = probe(replace(features, rows=on_device), config.method, "none", "log_loss", shown=False).head
    assert head is not None  # both methods have weights
    return head
