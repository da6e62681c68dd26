"""What a run says of the features that it learned from: their identity, how they were made, what they took."""

import json
from hashlib import blake2b
from typing import Any

import numpy as np

from headstart.cache.feature_cache import FeatureCache
from headstart.cache.layout import DONE


def cache_identity(cache: FeatureCache) -> dict[str, Any]:
    """What identifies the content of a cache for a run that learns from it, without its augmented views."""
    content = blake2b(cache.digests[cache.status == DONE].tobytes(), digest_size=16).hexdigest()
    return {"recipe_digest": recipe_digest(cache), "manifest_digest": cache.manifest_digest, "content": content}


def views_identity(cache: FeatureCache, views: int, tta: int) -> dict[str, Any]:
    """What identifies the augmented views that a run learns from, or predicts with; further ones change nothing."""
    assert cache.augmentation is not None
    content = blake2b(digest_size=16)
    for view in cache.augmented[: max(views, tta)]:
        content.update(cache.used(view, views, tta).tobytes())
    return {"augmentation": cache.augmentation.to_json(), "views_content": content.hexdigest()}


def recipe_digest(cache: FeatureCache) -> str:
    """32 hex digits over the recipes of all backbones."""
    digests = [part.recipe.digest() for part in cache.parts]
    return digests[0] if len(digests) == 1 else blake2b("".join(digests).encode(), digest_size=16).hexdigest()


def recipes_of(cache: FeatureCache) -> dict[str, Any]:
    """The entries of metrics.json on how the features were made; for several backbones side by side, of each."""
    weights = "+".join(dict.fromkeys(part.recipe.weights for part in cache.parts))
    recipes = [json.loads(part.recipe.to_json()) for part in cache.parts]
    files = [part.weights_file for part in cache.parts]
    return {
        "weights": weights,
        **({"recipe": recipes[0]} if len(recipes) == 1 else {"recipes": recipes}),
        **({"weights_files": files} if any(files) else {}),
    }


def cost_of_features(cache: FeatureCache) -> dict[str, Any]:
    """What the plain features of a cache took, and take: for the comparison of backbones."""
    images = int(np.count_nonzero(cache.status == DONE))
    rates = [float(part.notes.get(f"{part.recipe.precision}_images_per_second", 0)) for part in cache.parts]
    return {
        "images": images,
        "per_image": cache.feature_count,
        "bytes": images * sum(part.columns["features"].row_bytes for part in cache.parts),
        "seconds": cache.seconds,
        "net_images_per_second": 1 / sum(1 / rate for rate in rates) if all(rates) else None,
    }
