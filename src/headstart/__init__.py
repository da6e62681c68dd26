"""One pass through a frozen backbone, then as many heads as you like."""

from importlib import import_module

from headstart.errors import did_you_mean

_MODULES = {
    "Backbone": "models.backbone",
    "Classifier": "prediction.classifier",
    "FeatureCache": "cache.feature_cache",
    "HeadClassifier": "heads.estimator",
    "compare": "api",
    "cross_validate": "api",
    "export": "api",
    "extract": "api",
    "extract_each": "api",
    "finetune": "api",
    "learning_curve": "api",
    "load": "cache.arrays",
    "predict": "api",
    "probe": "api",
    "sweep": "api",
    "train_head": "api",
}

__all__ = list(_MODULES)


def __getattr__(name: str) -> object:
    """Imports a public name when it is first used: torch and scikit-learn take seconds to load."""
    if name not in _MODULES:
        raise AttributeError(f"module 'headstart' has no attribute {name!r}.{did_you_mean(name, __all__)}")
    return getattr(import_module(f"headstart.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    """The public names, for completion, and those that Python gives every module."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
