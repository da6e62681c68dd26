"""The programs that use a finished run, from the settings to the file that they write."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from headstart.cache.feature_cache import FeatureCache
from headstart.cache.inspection import describe
from headstart.errors import SettingsError
from headstart.prediction import exporting, loading, model_card
from headstart.prediction import predict as predictions
from headstart.prediction.classifier import Classifier
from headstart.prediction.distance import UNKNOWN, measures
from headstart.prediction.evidence import Evidence, is_plain
from headstart.prediction.on_ray import predict_by_tasks
from headstart.prediction.overlays import Overlays
from headstart.prediction.predict import Summary
from headstart.runs.one_data_set import refuse_other_data
from headstart.runs.run import Run
from headstart.settings import ExportConfig, PredictConfig, run_of
from headstart.settings.base import is_missing
from headstart.settings.command import command
from headstart.support.devices import pick_device


def predict(config: PredictConfig) -> tuple[Path, Summary]:
    """Writes the CSV with the class of each image, and prints a summary."""
    if bool(config.images) == bool(config.cache):
        raise SettingsError(
            "Say what to predict: either --images (a folder, a pattern, a .csv, a .txt, an image) or --cache."
        )
    run, device = loading.open_run(run_of(config)), pick_device(config.device)
    if config.unknown is not None and UNKNOWN in run.classes:
        raise SettingsError(
            f"--unknown {config.unknown}: a class of {run.folder} has the name {UNKNOWN} itself, so that nobody could "
            "tell them apart. Leave it out, and take the column distance."
        )
    overlays: Overlays | None = None
    out = config.out or run.folder / f"predict-{predictions.name_of(str(config.images or config.cache))}.csv"
    if config.cache:
        cache = FeatureCache(config.cache)
        print(describe(cache))
        refuse_other_data(run, cache.manifest, str(cache.path), _of_the_images(run, cache))
        classifier = Classifier(loading.parts_on_features(run, cache, device))
        classifier.learned_from, limit, missing = measures(run, device, config.unknown, [cache])
        summary = predictions.predict_cache(classifier, cache, out, run.digest(), config.views, limit)
    else:
        classifier = Classifier(loading.parts_of(run, config.weights, device, config.precision, config.compile))
        classifier.learned_from, limit, missing = measures(run, device, config.unknown)
        key = f"{run.digest()} {config.images} {config.precision} {config.compile} {device.type} {config.views}"
        key += f" {config.unknown}" if limit else ""
        here = partial(
            classifier.predict_each, batch_size=config.batch_size, workers=config.workers, views=config.views
        )
        each = partial(predict_by_tasks, replace(config, run=run.folder)) if config.ray else here
        overlays = _overlays(config, run, classifier, out, key)
        on_line = overlays.add if overlays else None
        summary = predictions.predict_images(classifier, str(config.images), out, key, each, limit, on_line)
    if one := summary.of_one_image():
        print(one)
    print(f"{out}: {summary.in_words()}")
    if said := limit.in_words(summary.by_class[UNKNOWN]) if limit else missing:
        print(said)
    if overlays:
        print(overlays.in_words())
    return out, summary


def _overlays(config: PredictConfig, run: Run, classifier: Classifier, out: Path, key: str) -> Overlays | None:
    """What draws the maps that are asked for; a net that is compiled or not in fp32 is loaded once more for them."""
    if not config.maps:
        return None
    if not is_plain(classifier):
        classifier = Classifier(loading.parts_of(run, config.weights, classifier.device, "fp32", "off"))
    return Overlays(Evidence(classifier), out.parent / "maps", config.maps, key)


def _of_the_images(run: Run, cache: FeatureCache) -> str:
    """How to predict the images of a cache with a run that learned from others."""
    images = str(cache.manifest.root) if cache.manifest.listing else cache.manifest.source
    if is_missing(images):
        return "Give a run that learned from these features, or images."
    return f"Predict the images themselves: {command('predict', run=run.folder, images=images)}"


def export(config: ExportConfig) -> Path:
    """Exports, checks, and describes the model; returns its file."""
    run = loading.open_run(run_of(config))
    folder = config.out or run.folder / config.format
    squares, stored = model_card.checks_of(run, config.images)
    exported = exporting.export(exporting.plain_classifier(run, config.weights), squares, config.format)
    model = model_card.write(run, exported, stored, folder)
    print(
        f"{model}: {len(exported.content) / 1e6:.1f} MB, checked on {len(squares[0])} images: largest difference to "
        f"the run in fp32 {exported.difference:.1g}. How to serve it: {folder / 'model_card.md'}"
    )
    return model
