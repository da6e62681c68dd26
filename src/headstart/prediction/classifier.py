"""A run as one model, from image files to class names. B images in a batch, C classes, D features."""

import functools
import os
from collections.abc import Iterable, Iterator
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from headstart.datasets.archives import place_of
from headstart.datasets.manifest import Place
from headstart.errors import DataError, SettingsError
from headstart.images.geometry import Transform
from headstart.images.loading import Batch, Loaded, TransformsOf, batch_of, default_workers, stream
from headstart.models.fast import PLAIN_FORM, naming
from headstart.models.mlp import unit_rows
from headstart.models.precision import BatchSizes
from headstart.prediction.distance import TrainingFeatures
from headstart.prediction.image_prediction import ImagePrediction, mean_of
from headstart.prediction.loading import Parts, open_run, parts_of
from headstart.settings import PredictConfig, run_of
from headstart.settings.wording import in_python
from headstart.support.devices import pick_device, sent
from headstart.support.memory import kept_memory
from headstart.support.overlap import Launched, one_behind


class Classifier(nn.Module):
    """Backbone and head of a run as one module, with the classes and the preprocessing that belong to them.

    Make one with `Classifier.load`.

    Attributes:
        classes: (C,) names, in the order of the probabilities.
        geometry: how an image becomes a square of `geometry.image_px`.
        geometries: the same for each input of the module: several where features of nets stand side by side that take
            different squares.
        stored: type in which the cache stored the features that the head learned from.
        learned_from: the features of its training images, to which distances are measured; None: they are not.
    """

    learned_from: TrainingFeatures | None = None

    def __init__(self, parts: Parts) -> None:
        """Joins the parts of a run."""
        super().__init__()
        nets, recipes = zip(*parts.nets, strict=True)
        self.backbone, self.beside, self.head = nets[0], nn.ModuleList(nets[1:]), parts.head
        self.classes, self.geometry = parts.classes, recipes[0].geometry
        self.geometries = tuple(dict.fromkeys(recipe.geometry for recipe in recipes))
        self._inputs = [self.geometries.index(recipe.geometry) for recipe in recipes]
        self._types: list[torch.dtype] = [getattr(torch, recipe.storage) for recipe in recipes]
        self._widths = tuple(recipe.features for recipe in recipes)
        self._name = "+".join(recipe.backbone for recipe in recipes)
        self.stored = functools.reduce(torch.promote_types, self._types)
        self.unit_length, self.one_shape, self.augmentation = parts.unit_length, parts.one_shape, parts.augmentation
        self._sizes = BatchSizes()
        self.eval()

    @classmethod
    @in_python()
    def load(
        cls,
        run: str | Path,
        weights: str | None = None,
        device: str = "auto",
        precision: str = "auto",
        compile: str = "auto",
    ) -> "Classifier":
        """The model of a run; needs neither its cache nor its images.

        Args:
            run: its folder; `…/best` means the best run of the data set by validation, if there is no such folder.
            weights: the file of the backbone's weights, if the features were made with one that is no longer where it
                was; its digest is checked.
            device: auto, cpu, cuda or mps.
            precision: auto, as the run's features were made (or, for a fine-tuned net, as it was tested: fp32); or
                fp32, bf16, fp16.
            compile: by torch.compile: auto, as the run's features were made; or on, off, which changes the last digits.
                Compiled for one batch size: use off to call the module on your own batches.

        Returns:
            In eval mode; without gradients for the backbone.

        Raises:
            RunError: no finished run, or one without weights (nearest neighbours).
            WeightsError: the backbone's weights cannot be found or downloaded, or are not those of the run.
            SettingsError: a word is none of these, or there is no such device or no compiler.
        """
        settings: dict[str, Any] = {"device": device, "precision": precision, "compile": compile}
        config = PredictConfig(run=Path(run), weights=weights, **settings)  # refuses other words
        return cls(parts_of(open_run(run_of(config)), config.weights, pick_device(device), precision, compile))

    @property
    def device(self) -> torch.device:
        """The device of its weights."""
        return next(self.head.parameters()).device

    def forward(self, pixels: Tensor, *more: Tensor) -> Tensor:
        """Class probabilities: (B, 3, image_px, image_px) uint8, RGB → (B, C) float32, rows that sum to 1.

        `more` are the squares for the other `geometries`, if there are several.
        """
        return self.of_features(self._features(pixels, *more))

    def _features(self, *squares: Tensor) -> Tensor:
        """(B, D), those of several nets side by side."""
        nets = zip((self.backbone, *self.beside), self._inputs, self._types, strict=True)
        parts = [net(squares[number].permute(0, 2, 3, 1)).to(stored) for net, number, stored in nets]
        return torch.cat(parts, dim=1)

    def of_features(self, features: Tensor) -> Tensor:
        """Class probabilities from features as they are in the cache: (B, D) → (B, C) float32."""
        return self.logits(features).softmax(dim=1)

    def logits(self, features: Tensor) -> Tensor:
        """The scores whose softmax `of_features` gives."""
        features = features.to(self.stored).float()
        if self.unit_length:
            features = unit_rows(features, self._widths)
        return self.head(features)  # type: ignore[no-any-return]

    def measured(self, features: Tensor) -> Tensor:
        """The same (B, C), and where they are measured one column more: the distances."""
        found = self.of_features(features)
        if self.learned_from is None:
            return found
        return torch.cat([found, self.learned_from.distances(features.to(self.stored))[:, None]], dim=1)

    def prediction_of(self, row: NDArray[np.float32]) -> ImagePrediction:
        """That of a row of `measured`."""
        classes = len(self.classes)
        prediction = ImagePrediction(row[:classes], "")
        prediction.distance = float(row[classes]) if len(row) > classes else None
        return prediction

    @in_python()
    def predict(self, images: Iterable[str | Path], views: int = 0) -> tuple[list[str | None], NDArray[np.float32]]:
        """Names the class of each image.

        Args:
            images: files in any format that extraction reads.
            views: see `predict_each`.

        Returns:
            N class names, and probabilities (N, C); None and a row of NaN for an image that cannot be read.

        Raises:
            DataError: `images` is one path: give a list, or a folder to `make predict`.
            SettingsError: views are asked for, and the run has none.
        """
        if isinstance(images, str | Path):
            raise DataError(f"predict takes a list of files, not one path: predict([{str(images)!r}]).")
        places, unknown = (place_of(os.fspath(image)) for image in images), np.full(len(self.classes), np.nan)
        rows = [unknown if row is None else row for row, _ in self.predict_each(places, views=views)]
        names = [None if row is unknown else self.classes[int(row.argmax())] for row in rows]
        return names, np.array(rows, np.float32).reshape(-1, len(self.classes))

    def predict_each(
        self, places: Iterable[Place], batch_size: int | None = None, workers: int = 0, views: int = 0
    ) -> Iterator[ImagePrediction]:
        """Predicts image after image, in the order of the places; memory does not grow with their number.

        Args:
            places: read as they are needed.
            batch_size: images in one forward pass; by default 32, on CUDA 256, or fewer where its memory is small.
            workers: decoding threads; 0: one for each core.
            views: augmented views of each image; probabilities are means over them and the plain view.
        """
        by_view = self._predict_views(places, batch_size, default_workers(workers), views)
        while predictions := list(islice(by_view, views + 1)):
            yield mean_of(predictions)

    answers = predict_each
    """The name of `predict_each` in version 0.1."""

    def _transforms(self, views: int) -> TransformsOf:
        """Of each view in turn, the plain one first, a square for each of the geometries."""
        plain: list[Transform] = list(self.geometries)
        if not views:
            return lambda row, digest: dict(enumerate(plain))
        if not (augmentation := self.augmentation):
            raise SettingsError(f"--views {views}: the run knows no views. Train on a cache that has some.")
        others = list(product(range(1, views + 1), self.geometries))
        return lambda row, digest: dict(
            enumerate([*plain, *(augmentation.transform_of(how, view, digest) for view, how in others)])
        )

    def _predict_views(
        self, places: Iterable[Place], batch_size: int | None, workers: int, views: int
    ) -> Iterator[ImagePrediction]:
        """One prediction for each view of each image, the plain one first."""
        transforms, size = self._transforms(views), self._fitting(batch_size)
        loaded = stream(enumerate(places), transforms, workers, max(workers, 2 * size // (views + 1)))
        with kept_memory():
            for batch, launched in one_behind(self._batches(loaded, size), self._launch):
                rows = iter(launched.result())
                for reason in batch[0].reasons:
                    yield ImagePrediction(None, reason) if reason else self.prediction_of(next(rows))

    def _fitting(self, batch_size: int | None) -> int:
        """The batch size, or as much of it as fits the memory of a GPU; None is the usual one."""
        sides = [geometry.image_px for geometry in self.geometries]

        def all_squares(pixels: Tensor) -> Tensor:
            return self._of_pixels(*(pixels.new_zeros((len(pixels), side, side, 3)) for side in sides))

        return self._sizes.fitting("", all_squares, batch_size, sides[0], self.device)

    def _batches(self, loaded: Iterator[Loaded], size: int) -> Iterator[list[Batch[NDArray[np.uint8]]]]:
        """Views in their order, `size` in a batch, once for each geometry; the squares of a view follow one another."""
        count = len(self.geometries)
        while squares := list(islice(loaded, size * count)):
            yield [
                batch_of(squares[number::count], size, geometry.image_px)
                for number, geometry in enumerate(self.geometries)
            ]

    def _launch(self, batch: list[Batch[NDArray[np.uint8]]]) -> Launched:
        first, *others = (each.pixels if self.one_shape else each.readable_pixels for each in batch)
        more = [sent(pixels, self.device) for pixels in others]
        return Launched(lambda pixels: self._of_pixels(pixels, *more), sent(first, self.device))

    @torch.inference_mode()
    def _of_pixels(self, pixels: Tensor, *more: Tensor) -> Tensor:
        """(B, H, W, 3) uint8, B may be 0 → as `measured`."""
        if not len(pixels):
            return pixels.new_zeros((0, len(self.classes)))
        with naming(self._name, PLAIN_FORM):
            return self.measured(self._features(*(each.permute(0, 3, 1, 2) for each in (pixels, *more))))
