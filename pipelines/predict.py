"""A run and new images → a CSV with the class of each: backbone and head as one model."""

from headstart import cli
from headstart.errors import SettingsError
from headstart.settings import PredictConfig, run_of


def main(config: PredictConfig) -> int:
    """Predicts, and prints a summary. Exit code 1 if too many images are unreadable."""
    from headstart.cache.feature_cache import FeatureCache
    from headstart.cache.inspection import describe
    from headstart.prediction import loading, predict  # torch loads here, after --help has answered
    from headstart.prediction.classifier import Classifier
    from headstart.support.devices import pick_device

    if bool(config.images) == bool(config.cache):
        raise SettingsError("Say what to predict: either --images (a folder, a pattern, a .csv) or --cache.")
    run, device = loading.open_run(run_of(config)), pick_device(config.device)
    out = config.out or run.folder / f"predict-{predict.name_of(str(config.images or config.cache))}.csv"
    if config.cache:
        cache = FeatureCache(config.cache)
        print(describe(cache))
        if run.classes != cache.manifest.classes:
            print(f"{run.folder} learned other classes than those of {cache.path}: it names those that it knows.")
        summary = predict.predict_cache(
            Classifier(loading.parts_on_features(run, cache, device)), cache, out, run.digest(), config.views
        )
    else:
        parts = loading.parts_of(run, config.weights, device, config.precision, config.compile)
        key = f"{run.digest()} {config.images} {config.precision} {config.compile} {device.type} {config.views}"
        summary = predict.predict_images(
            Classifier(parts), str(config.images), out, key, config.batch_size, config.workers, config.views
        )
    print(f"{out}: {summary.in_words()}")
    return summary.unreadable.report(summary.images, config.max_unreadable)


if __name__ == "__main__":
    cli.run(main, PredictConfig, "Lines that were finished are kept: the same command goes on after them.")
