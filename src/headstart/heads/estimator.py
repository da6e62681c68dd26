"""The MLP head as a scikit-learn estimator: the same training, behind fit and predict.

N rows, D features (of any net, or none), C classes.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from headstart.heads.features import BLOCK_ROWS, Features
from headstart.heads.records import TrainingState
from headstart.heads.training import trained
from headstart.settings import Device, HeadConfig, require
from headstart.settings.base import refuse
from headstart.settings.from_python import config_from
from headstart.settings.wording import in_python
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

    @in_python()
    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:  # noqa: N803
        """Trains a head from scratch on features X (N, D) and labels y (N,) of any kind.

        `sample_weight` (N,), 0 or more, says how much each row counts: the loss of a batch is the weighted mean of its
        rows, and rows of weight 0 are left out. So a weight of 2 is about, but not exactly, the row given twice.

        Raises:
            ValueError: X, y or the weights are not what scikit-learn takes for classification.
            SettingsError: a setting is out of range; a ValueError, too.
            TrainingFailed: the loss became infinite or NaN.
        """
        X, y = validate_data(self, X, y, dtype=np.float32)  # noqa: N806
        check_classification_targets(y)
        config = self._config()
        self.classes_ = np.unique(y)
        self._learn(self._features(X, y, sample_weight), config)
        return self

    @in_python()
    def partial_fit(
        self,
        X: ArrayLike,  # noqa: N803
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Goes on from the present weights and the state of the optimiser, for one pass over these rows.

        The first call, unless `fit` came before it, starts a new head; its rows decide mean and deviation of the
        features for all that follow. The learning rate is `lr` throughout: `epochs`, `schedule` and `warmup` are not
        used, and class weights are balanced over the rows of each call.

        Args:
            X, y, sample_weight: as in `fit`.
            classes: all labels that y will ever have; needed in the first call.

        Raises:
            ValueError: as in `fit`, or `classes` is missing or another than before, or y has labels outside of it.
            SettingsError: `hidden` or another setting does not fit.
            TrainingFailed: the loss became infinite or NaN.
        """
        state: TrainingState | None = getattr(self, "_training", None)
        X, y = validate_data(self, X, y, dtype=np.float32, reset=state is None)  # noqa: N806
        check_classification_targets(y)
        config = dataclasses.replace(self._config(), epochs=1, schedule="constant", warmup=0.0)
        if state is None:
            if classes is None:
                raise ValueError("The first call of partial_fit needs classes=: all labels that y will ever have.")
            self.classes_ = np.unique(classes)
        elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise ValueError(f"classes is {classes!r}, but the head has learned the classes {self.classes_}.")
        elif config.hidden != (hidden := state.widths[1:-1]):
            refuse("hidden", self.hidden, f"{hidden}, as in the calls before; or start again with fit")
        self._learn(self._features(X, y, sample_weight), config, state)
        return self

    def _learn(self, features: Features, config: HeadConfig, state: TrainingState | None = None) -> None:
        trainer = trained(features, config, state=state)
        self.head_ = trainer.fitted(0).head.sequential()
        self._training = trainer.state()

    def _features(self, X: Any, y: Any, sample_weight: ArrayLike | None) -> Features:  # noqa: N803
        labels, numbers = np.unique(y, return_inverse=True)
        if len(unknown := np.setdiff1d(labels, self.classes_)):
            raise ValueError(f"y has labels that are not in classes: {unknown.tolist()}.")
        codes = torch.from_numpy(np.searchsorted(self.classes_, labels)[numbers])
        rows, weights, device = torch.arange(len(codes)), None, pick_device(self.device)
        if sample_weight is not None:
            known = _check_sample_weight(sample_weight, X, dtype=np.float64)
            if known.min() < 0 or known.max() == 0:
                raise ValueError("sample_weight must be 0 or more, and above 0 for at least one row.")
            weights = torch.from_numpy(known / known.mean()).float().to(device)  # of mean 1
            rows = weights.nonzero().flatten()
        splits = {"train": rows.to(device), "val": rows[:0].to(device), "test": rows[:0].to(device)}
        names = tuple(map(str, self.classes_))
        return Features(_tensor(X).to(device), codes.to(device), splits, names, row_weights=weights)

    def _config(self) -> HeadConfig:
        require(self, "normalize", self.normalize in ("standardize", "none"), "standardize or none")
        settings: dict[str, Any] = self.get_params()
        seed = settings.pop("random_state")
        if not isinstance(seed, int | np.integer):
            seed = check_random_state(seed).randint(2**31)
        require(self, "random_state", seed >= 0, "0 or more")
        return config_from(HeadConfig, **settings, seed=seed)

    def _logits(self, X: ArrayLike) -> torch.Tensor:  # noqa: N803
        """(N, C)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float32, reset=False)  # noqa: N806
        with torch.inference_mode():
            return torch.cat([self.head_(rows) for rows in _tensor(X).split(BLOCK_ROWS)])

    def decision_function(self, X: ArrayLike) -> NDArray[np.float32]:  # noqa: N803
        """How far each row of X (N, D) is on the side of a class: logits (N, C), columns in the order of `classes_`.

        For two classes (N,): the log-odds of the second, above 0 where it is predicted.

        Raises:
            NotFittedError: `fit` was not called.
        """
        logits = self._logits(X).numpy()
        return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float32]:  # noqa: N803
        """Class probabilities (N, C), columns in the order of `classes_`, from X: (N, D) features.

        Raises:
            NotFittedError: `fit` was not called.
        """
        return self._logits(X).softmax(dim=1).numpy()

    def predict_log_proba(self, X: ArrayLike) -> NDArray[np.float32]:  # noqa: N803
        """Logarithms (N, C) of the probabilities, exact where these are too small for fp32. See `predict_proba`."""
        return self._logits(X).log_softmax(dim=1).numpy()

    def predict(self, X: ArrayLike) -> NDArray[Any]:  # noqa: N803
        """The most probable class of each row: (N,), as in `classes_`. See `predict_proba`."""
        codes = self._logits(X).argmax(dim=1).numpy()
        predictions: NDArray[Any] = self.classes_[codes]
        return predictions


def _tensor(values: Any) -> torch.Tensor:
    """(N, D). torch takes no negative strides, such as those of X[::-1], and warns of read-only arrays."""
    return torch.from_numpy(np.require(values, requirements=["C", "W"]))
