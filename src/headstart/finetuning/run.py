"""A fine-tuned run, from the settings to its folder."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from headstart.datasets import copies, grouping
from headstart.datasets.description import describe
from headstart.datasets.manifest import UNLABELLED, Manifest
from headstart.datasets.naming import split_seed_of
from headstart.datasets.splits import rows_of
from headstart.finetuning import batches, data, net, training
from headstart.finetuning.checkpoint import Checkpoint
from headstart.finetuning.start import Start
from headstart.models.mlp import trainable_parameters
from headstart.models.tuned import how_to_load, save_tuned
from headstart.runs import figures, history
from headstart.runs import folder as runs
from headstart.runs.predictions import Predictions
from headstart.runs.run import finetuned_file, load_run
from headstart.runs.seen import warn_of_seen
from headstart.runs.title import folder_words
from headstart.settings import RUNS_FOLDER, FinetuneConfig, each_backbone, each_seed
from headstart.support.devices import peak_memory_bytes, pick_device
from headstart.support.team import Team


def train_each(config: FinetuneConfig, team: Team | None = None) -> list[Path]:
    """Trains each of the backbones that are named with each seed, once all backbones can be loaded.

    All runs have the same splits.
    """
    config = dataclasses.replace(config, split_seed=split_seed_of(config))
    runs_of_each = [each_seed(each) for each in each_backbone(config)]
    starts = [Start(first) for first, *_ in runs_of_each]
    team = team or Team()
    images, folders = data.load(config, team), []
    for _, *others in runs_of_each:
        folders.append(train(starts.pop(0), images, team))
        folders += [train(Start(other), images, team) for other in others]
    return folders


def train(start: Start, images: data.Data | None = None, team: Team | None = None) -> Path:
    """Trains as one of a team, tests once, and saves the run; a finished one is only reported. Returns its folder."""
    config = start.config
    if config.tensorboard:
        history.require_tensorboard()
    device, team = pick_device(config.device), team or Team()
    images = images or data.load(config, team)
    manifest = images.manifest
    identity = runs.identity(
        config,
        **start.identity,
        **grouping.identity(manifest),
        **batches.crops_identity(config),
        manifest_digest=manifest.digest(),
        files_digest=manifest.files_digest(),
        head_digest=net.head_digest(config.init_head),
        device=device.type,
    )
    words = folder_words("finetune", identity, dataclasses.asdict(config))
    copied = images.copied
    if left_out := copies.left_out(copied, manifest.splits):
        identity = {**identity, "copies_left_out": left_out}
    folder = config.run or runs.run_folder(RUNS_FOLDER, manifest.name, "finetune", identity, words)
    checkpoint = Checkpoint(folder, identity)
    with runs.alone(folder, identity, team.leads) as is_new:
        if is_new:
            _train(manifest, copied, start, device, checkpoint, team)
        elif team.leads:
            if config.tensorboard:
                history.write_events(folder)
            print(f"{folder} is there already: {load_run(folder).summary()}")
        if team.leads:
            checkpoint.remove()  # also one that a process left which was killed as it ended
    return folder


def _train(
    manifest: Manifest,
    copied: NDArray[np.bool_],
    start: Start,
    device: torch.device,
    checkpoint: Checkpoint,
    team: Team,
) -> None:
    backbone, classifier = start.config.backbone, start.net.classifier
    if start.config.init_head:
        net.refuse_seen_images(start.config.init_head, manifest)
    left_out = checkpoint.identity.get("copies_left_out", {})
    if team.leads:
        print("\n".join(filter(None, [describe(manifest), copies.in_words(left_out), start.describe()])))
    manifest = dataclasses.replace(manifest, labels=np.where(copied, UNLABELLED, manifest.labels))
    if team.leads and start.given.weights:
        warn_of_seen([start.given.weights], manifest, rows_of(manifest, "test"))
    events = history.event_writer(checkpoint.folder, start.config.tensorboard and team.leads)
    with events as after_epoch:
        tuned = training.finetune(manifest, start, device, checkpoint, team, after_epoch)
        val, test, unreadable = _predictions(manifest, start, tuned, device, team)
    if not team.leads:
        return
    metrics = {
        **_metrics(manifest, start, tuned, device),
        **figures.figures(val, test),
        "unreadable_images": unreadable,
        "copies_left_out": left_out,
        "recipe_digest": checkpoint.identity.get("state_digest") or checkpoint.identity["weights_digest"],
    }
    run = runs.save(
        checkpoint.folder,
        files={finetuned_file(backbone): lambda path: save_tuned(tuned.net, tuned.scale, path, backbone, classifier)},
        config=checkpoint.identity,
        metrics=metrics,
        history=tuned.history,
        predictions=test,
    )
    print(f"{checkpoint.folder}: {run.summary()}")


def _predictions(
    manifest: Manifest, start: Start, tuned: training.Tuned, device: torch.device, team: Team
) -> tuple[Predictions, Predictions, int]:
    """For the validation and the test images; and the number of unreadable images of all splits."""
    images = batches.Images(manifest, start.geometry, start.config.workers)

    def predictions_on(split: str) -> Predictions:
        rows = rows_of(manifest, split)
        return figures.predictions_of(manifest, *batches.predict(tuned.net, tuned.scale, images, rows, device, team))

    val, test = predictions_on("val"), predictions_on("test")
    return val, test, len(tuned.unreadable.union(*team.gathered(images.unreadable)))


def _metrics(manifest: Manifest, start: Start, tuned: training.Tuned, device: torch.device) -> dict[str, Any]:
    config, classifier = start.config, start.net.classifier
    return {
        "kind": "finetune",
        "method": "lp-ft" if config.init_head else config.method,
        "dataset": manifest.name,
        "data_root": str(manifest.root),
        "data_source": manifest.source,
        "listing": manifest.listing,
        "classes": manifest.classes,
        "best_epoch": tuned.best_epoch,
        "select": config.select,
        "train_seconds": tuned.train_seconds,
        "images_per_second": tuned.images_per_second,
        "peak_memory_bytes": peak_memory_bytes(device),
        "trainable_parameters": trainable_parameters(tuned.net),
        "train_images": tuned.train_images,
        "device": device.type,
        "precision": tuned.precision,
        "how_to_load": how_to_load(tuned.net, config.backbone, classifier),
        "geometry": dataclasses.asdict(start.geometry),
        "backbone": config.backbone,
        "features": start.net.features,
        **({"chosen": start.chosen} if start.chosen else {}),
        "weights": config.weights,
        "seed": config.seed,
        "split_seed": manifest.seed,
    }
