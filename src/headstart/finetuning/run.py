"""A fine-tuned run, from the settings to its folder."""

import dataclasses
from pathlib import Path

import torch

from headstart.datasets import labelled, splits
from headstart.datasets.manifest import Manifest
from headstart.finetuning import batches, net, training
from headstart.finetuning.checkpoint import Checkpoint
from headstart.finetuning.data_parallel import Group, group_of
from headstart.models.mlp import trainable_parameters
from headstart.models.resnet50 import how_to_load, save_resnet50
from headstart.models.weights import describe_weights, weights_digest
from headstart.runs import figures
from headstart.runs import folder as runs
from headstart.runs.predictions import Predictions
from headstart.runs.run import load_run
from headstart.settings import RUNS_FOLDER, FinetuneConfig, data_of
from headstart.support.devices import peak_memory_bytes, pick_device
from headstart.support.team import Team


def train(config: FinetuneConfig, team: Team | None = None) -> Path:
    """Trains, tests once, and saves the run; one that is there already is reported.

    Args:
        config: the settings.
        team: the processes that train together, each in a call of its own; the one that leads reports and saves.

    Returns:
        Its folder.

    Raises:
        DataError: the data set is not in order.
        WeightsError: the weights are not to be had.
        RunError: the folder holds another run or cannot be written, or the head to start from does not fit.
        TrainingFailed: the loss became infinite or NaN.
    """
    device, team = pick_device(config.device), team or Team()
    manifest = labelled.load(data_of(config), config.seed)
    digest = weights_digest(config.weights, config.seed)
    identity = runs.identity(
        config,
        weights_digest=digest,
        manifest_digest=manifest.digest(),
        files_digest=manifest.files_digest(),
        head_digest=net.head_digest(config.init_head),
        device=device.type,
    )
    folder = config.run or runs.run_folder(RUNS_FOLDER, manifest.name, "finetune", identity)
    if runs.finished(folder, identity):
        if team.leads:
            print(f"{folder} is there already: {load_run(folder).summary()}")
        return folder

    runs.make_folder(folder)
    if team.leads:
        print(describe_weights(config.weights))
    checkpoint = Checkpoint(folder, identity)
    with group_of(team, device) as group:
        tuned = training.finetune(manifest, config, device, checkpoint, group)
        metrics, test = _tested(manifest, config, tuned, device, group)
    if not team.leads:
        return folder
    run = runs.save(
        folder,
        files={"finetuned_resnet50.pth": lambda path: save_resnet50(tuned.net, tuned.scale, path)},
        config=identity,
        metrics={**metrics, "recipe_digest": digest},
        history=tuned.history,
        predictions=test,
    )
    checkpoint.remove()
    print(f"{folder}: {run.summary()}")
    return folder


def _tested(
    manifest: Manifest, config: FinetuneConfig, tuned: training.Tuned, device: torch.device, group: Group
) -> tuple[dict[str, object], Predictions]:
    """The figures of a trained net, and what it says about the test images."""
    geometry = training.geometry_of(config)
    images = batches.Images(manifest, geometry, config.workers)
    val, test = (
        figures.predictions_of(
            manifest,
            *batches.predict(tuned.net, tuned.scale, images, splits.rows_of(manifest, split), device, group),
        )
        for split in ("val", "test")
    )
    unreadable = tuned.unreadable.union(*group.gathered(images.unreadable))
    metrics = {
        "kind": "finetune",
        "method": "lp-ft" if config.init_head else config.method,
        "dataset": manifest.name,
        "data_root": str(manifest.root),
        "classes": manifest.classes,
        **figures.figures(val, test),
        "best_epoch": tuned.best_epoch,
        "train_seconds": tuned.train_seconds,
        "images_per_second": tuned.images_per_second,
        "peak_memory_bytes": peak_memory_bytes(device),
        "trainable_parameters": trainable_parameters(tuned.net),
        "train_images": tuned.train_images,
        "unreadable_images": len(unreadable),
        "device": device.type,
        "precision": tuned.precision,
        "how_to_load": how_to_load(tuned.net),
        "geometry": dataclasses.asdict(geometry),
        "weights": config.weights,
        "seed": config.seed,
    }
    return metrics, test
