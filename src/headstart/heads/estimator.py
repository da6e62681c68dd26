"""The MLP head as a scikit-learn estimator: the same training, behind fit and predict.

N rows, D features (of any net, or none), C classes.
"""

from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from headstart.heads.features import BLOCK_ROWS, Features
from headstart.heads.training import fit_quietly
from headstart.settings import Device, HeadConfig, require
from headstart.support.devices import pick_device


@dataclass(eq=False, repr=False)
class HeadClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """An MLP head on features, for pipelines, searches and cross-validation.

    The arguments are the settings of `make train-head`; `random_state` is its `--seed`. Without a validation split, the
    head of the last epoch is kept.

    Attributes:
        classes_: (C,) labels, sorted.
        head_: the trained `nn.Sequential`; takes features as they were given to `fit`.
        n_features_in_: D.
    """

    hidden: tuple[int, ...] = (256,)
    dropout: float = 0.4
    lr: float = 1e-3
    weight_decay: float = 0.0
    optimizer: Literal["adam", "adamw"] = "adam"
    schedule: Literal["constant", "cosine"] = "constant"
    warmup: float = 0.0
    label_smoothing: float = 0.0
    class_weights: Literal["none", "balanced"] = "none"
    epochs: int = 10
    batch_size: int = 32
    normalize: Literal["standardize", "none"] = "standardize"
    random_state: int | np.random.RandomState | None = 0
    device: Device = "auto"

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:  # noqa: N803
        """Trains a head from scratch on features X (N, D) and labels y (N,) of any kind.

        Raises:
            ValueError: X or y is not what scikit-learn takes for classification.
            SettingsError: a setting is out of range.
            TrainingFailed: the loss became infinite or NaN.
        """
        X, y = validate_data(self, X, y, dtype=np.float32)  # noqa: N806
        check_classification_targets(y)
        config = self._config()
        self.classes_, codes = np.unique(y, return_inverse=True)
        device, rows = pick_device(self.device), torch.arange(len(codes))
        splits = {"train": rows.to(device), "val": rows[:0].to(device), "test": rows[:0].to(device)}
        labels = torch.from_numpy(codes).to(device)
        features = Features(_tensor(X).to(device), labels, splits, tuple(map(str, self.classes_)))
        self.head_ = fit_quietly(features, config).head.sequential()
        return self

    def _config(self) -> HeadConfig:
        require(self, "normalize", self.normalize in ("standardize", "none"), "standardize or none")
        settings: dict[str, Any] = self.get_params()
        seed = settings.pop("random_state")
        if not isinstance(seed, int | np.integer):
            seed = check_random_state(seed).randint(2**31)
        return HeadConfig(**{**settings, "hidden": tuple(settings["hidden"]), "seed": int(seed)})

    @torch.inference_mode()
    def predict_proba(self, X: ArrayLike) -> NDArray[np.float32]:  # noqa: N803
        """Class probabilities (N, C), columns in the order of `classes_`, from X: (N, D) features.

        Raises:
            NotFittedError: `fit` was not called.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float32, reset=False)  # noqa: N806
        return np.concatenate([self.head_(rows).softmax(dim=1).numpy() for rows in _tensor(X).split(BLOCK_ROWS)])

    def predict(self, X: ArrayLike) -> NDArray[Any]:  # noqa: N803
        """The most probable class of each row: (N,), as in `classes_`. See `predict_proba`."""
        probabilities = self.predict_proba(X)
        predictions: NDArray[Any] = self.classes_[probabilities.argmax(axis=1)]
        return predictions


def _tensor(values: Any) -> torch.Tensor:
    return torch.from_numpy(values if values.flags.writeable else values.copy())  # torch warns of read-only arrays
