"""One pass through a frozen ResNet50, then as many heads as you like."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headstart.api import extract, finetune, load, train_head
    from headstart.cache.feature_cache import FeatureCache
    from headstart.heads.estimator import HeadClassifier
    from headstart.prediction.classifier import Classifier

__all__ = ["Classifier", "FeatureCache", "HeadClassifier", "extract", "finetune", "load", "train_head"]

_MODULES = {
    "Classifier": "prediction.classifier",
    "FeatureCache": "cache.feature_cache",
    "HeadClassifier": "heads.estimator",
    "extract": "api",
    "finetune": "api",
    "load": "api",
    "train_head": "api",
}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used: torch and scikit-learn take seconds to load."""
    if name not in _MODULES:
        raise AttributeError(f"module 'headstart' has no attribute {name!r}")
    return getattr(import_module(f"headstart.{_MODULES[name]}"), name)
