"""Images → ResNet50 trained end to end: the slow way, for comparison."""

from headstart import cli
from headstart.settings import RUNS_FOLDER, FinetuneConfig, data_of


def main(config: FinetuneConfig) -> None:
    """Trains, tests once, and saves the run; a run that is there already is reported."""
    from headstart import (  # torch loads here, after --help has answered
        datasets,
        finetuned_net,
        finetuning,
        image_batches,
        outcomes,
        recipe,
        runs,
        subsets,
    )
    from headstart.backbone import how_to_load, save_resnet50
    from headstart.checkpoint import Checkpoint
    from headstart.devices import peak_memory_bytes, pick_device
    from headstart.plain_head import trainable_parameters

    device = pick_device(config.device)
    manifest = datasets.load(data_of(config), config.seed)
    weights_digest = recipe.weights_digest(config.weights, config.seed)
    identity = outcomes.identity(
        config,
        weights_digest=weights_digest,
        manifest_digest=manifest.digest(),
        files_digest=manifest.files_digest(),
        head_digest=finetuned_net.head_digest(config.init_head),
        device=device.type,
    )
    folder = config.run or runs.run_folder(RUNS_FOLDER, manifest.name, "finetune", identity)
    if runs.finished(folder, identity):
        print(f"{folder} is there already: {runs.summary(runs.load_metrics(folder))}")
        return

    runs.make_folder(folder)
    print(recipe.describe_weights(config.weights))
    checkpoint = Checkpoint(folder, identity)
    tuned = finetuning.finetune(manifest, config, device, checkpoint)
    images = image_batches.Images(manifest, finetuning.geometry_of(config), config.workers)
    val, test = (
        outcomes.predictions_of(
            manifest, *image_batches.predict(tuned.net, tuned.scale, images, subsets.rows_of(manifest, split), device)
        )
        for split in ("val", "test")
    )
    metrics = {
        "kind": "finetune",
        "method": "lp-ft" if config.init_head else config.method,
        "dataset": manifest.name,
        **outcomes.figures(val, test),
        "best_epoch": tuned.best_epoch,
        "train_seconds": tuned.train_seconds,
        "images_per_second": tuned.images_per_second,
        "peak_memory_bytes": peak_memory_bytes(device),
        "trainable_parameters": trainable_parameters(tuned.net),
        "train_images": tuned.train_images,
        "unreadable_images": len(tuned.unreadable | images.unreadable),
        "device": device.type,
        "precision": tuned.precision,
        "how_to_load": how_to_load(tuned.net),
        "weights": config.weights,
        "recipe_digest": weights_digest,
        "seed": config.seed,
    }
    runs.save(
        folder,
        files={"finetuned_resnet50.pth": lambda path: save_resnet50(tuned.net, tuned.scale, path)},
        config=identity,
        metrics=metrics,
        history=tuned.history,
        predictions=test,
    )
    checkpoint.remove()
    print(f"{folder}: {runs.summary(metrics)}")


if __name__ == "__main__":
    cli.run(main, FinetuneConfig, "Finished epochs are kept: the same command goes on after them.")
