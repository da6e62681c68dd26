"""Blocks of images, predicted by tasks of Ray."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import islice

from headstart.datasets.manifest import Place
from headstart.errors import CacheError, RunError
from headstart.prediction.classifier import Classifier
from headstart.prediction.distance import TrainingFeatures, learned_from
from headstart.prediction.image_prediction import ImagePrediction
from headstart.prediction.loading import open_run
from headstart.settings import PredictConfig, run_of
from headstart.support.cluster import connected

BLOCK = 512
"""Images of a task: few enough to be computed again if it is lost, many enough to pay for loading the nets."""


def predict_by_tasks(config: PredictConfig, places: Iterable[Place]) -> Iterator[ImagePrediction]:
    """As `Classifier.predict_each`; see `cluster.connected` for the address in the settings."""
    waiting = iter(places)
    with connected(str(config.ray)) as cluster:
        config = replace(config, workers=config.workers or cluster.cores)
        blocks = iter(lambda: (config, list(islice(waiting, BLOCK))), (config, []))
        for predictions in cluster.results(_predict, blocks):
            yield from predictions


def _predict(task: tuple[PredictConfig, list[Place]]) -> list[ImagePrediction]:
    config, places = task
    return list(_classifier(config).predict_each(places, config.batch_size, config.workers, config.views))


@lru_cache(maxsize=1)
def _classifier(config: PredictConfig) -> Classifier:
    """Loaded once in each process."""
    classifier = Classifier.load(run_of(config), config.weights, config.device, config.precision, config.compile)
    try:
        classifier.learned_from = TrainingFeatures.load(learned_from(open_run(run_of(config))), classifier.device)
    except (RunError, CacheError):  # which the program that gives the tasks has said
        if config.unknown is not None:
            raise
    return classifier
