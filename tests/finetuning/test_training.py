"""Fine-tuning: the seed's script to the letter, the strong method, parts of the net; stopped, it goes on.

Everything here runs on untrained nets at 32 to 64 px, one thread: small nets only make threads wait.
"""

import copy
import dataclasses
import math
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import pretend_cuda
from helpers.pictures import picture
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torchvision import transforms
from torchvision.models import resnet18

from headstart.datasets import labelled
from headstart.datasets.manifest import Manifest
from headstart.datasets.splits import rows_of
from headstart.errors import DataError, DataWarning, RunError, TrainingFailed
from headstart.extraction import updating
from headstart.finetuning import run, training
from headstart.finetuning.batches import Images, predict
from headstart.finetuning.checkpoint import Checkpoint
from headstart.finetuning.net import initial_net as initial_net_of
from headstart.finetuning.start import Start
from headstart.finetuning.training import Tuned
from headstart.models.backbone import IMAGENET, ZERO_TO_ONE
from headstart.models.loading import load_backbone
from headstart.models.tuned import save_tuned
from headstart.settings import ExtractConfig, FinetuneConfig

CPU = torch.device("cpu")
CLASSES = ("bird", "cat", "dog")
SMALL = FinetuneConfig(method="seed", backbone="resnet18", weights="random", image_px=32, epochs=1)
SMALL = dataclasses.replace(SMALL, batch_size=8, workers=1)
SQUASHED = Start(SMALL).geometry


def photos(root: Path, suffix: str = ".png", size: int = 40, **counts: int) -> Path:
    """`root/<split>/<class>/*.png`, so many for each class; of several sizes."""
    for split, count in counts.items():
        for place, name in enumerate(CLASSES):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                image = picture(1000 * place + 100 * len(split) + number, (size + number, size - 4))
                image.save(folder / f"{number}{suffix}")
    return root


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Manifest:
    return labelled.load(str(photos(tmp_path_factory.mktemp("tuning") / "photos", train=7, val=2, test=3)))


def test_the_epochs_of_a_run_are_written_for_tensorboard_while_it_trains(manifest, tmp_path):
    config = dataclasses.replace(SMALL, data=str(manifest.root), run=tmp_path, device="cpu", tensorboard=True)
    run.train(Start(config))
    (file,) = tmp_path.glob("events.*")
    events = EventAccumulator(str(file)).Reload()
    assert [event.step for event in events.Scalars("accuracy/validation")] == [1]


@dataclasses.dataclass(frozen=True)
class Watched:
    """A fine-tuning with the loss and the images of every step."""

    tuned: Tuned
    losses: list[float]
    rows: list[list[int]]


def watch(manifest: Manifest, config: FinetuneConfig, checkpoint: Checkpoint | None = None) -> Watched:
    losses, rows, step = [], [], training._Tuner._step

    def noting(tuner, pixels, chosen, images):
        loss = step(tuner, pixels, chosen, images)
        losses.append(float(loss))
        rows.append(chosen.tolist())
        return loss

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training._Tuner, "_step", noting)
        return Watched(training.finetune(manifest, Start(config), CPU, checkpoint), losses, rows)


@pytest.fixture(scope="module")
def watched(manifest) -> Watched:
    """21 training images in batches of 8, 8 and 5; two epochs."""
    return watch(manifest, dataclasses.replace(SMALL, epochs=2))


def flat(batches: list[list[int]]) -> list[int]:
    return list(chain.from_iterable(batches))


def initial_net(seed=0, classes=3):
    """The net before the first step, as a person would write it."""
    torch.manual_seed(seed)
    net = resnet18()
    torch.manual_seed(seed)
    net.fc = nn.Linear(net.fc.in_features, classes)
    return net


def as_the_seed_sees(manifest: Manifest, rows, image_px: int) -> torch.Tensor:
    transform = transforms.Compose([transforms.Resize((image_px, image_px)), transforms.ToTensor()])
    return torch.stack([transform(Image.open(manifest.place(row)).convert("RGB")) for row in rows])


# --- the seed's method ---


@pytest.mark.slow
def test_the_seed_method_gives_the_losses_of_the_seeds_script(tmp_path):
    """Its text, with weights=None, a smaller net and our JPEG files put in; the same initial weights and order.

    Untrained nets at this learning rate are chaotic: one grey level, or rounding in another order, changes the third
    loss by a tenth.
    """
    manifest = labelled.load(str(photos(tmp_path / "photos", ".jpg", 300, train=4, val=1, test=1)))
    config = dataclasses.replace(SMALL, image_px=64, epochs=2)
    ours = watch(manifest, config)

    model = initial_net(config.seed)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    order = torch.Generator().manual_seed(config.seed)
    train = rows_of(manifest, "train")
    losses = []
    model.train()
    for _ in range(2):
        for batch in torch.randperm(len(train), generator=order).split(8):
            inputs = as_the_seed_sees(manifest, train[batch.numpy()], 64)
            labels = torch.from_numpy(manifest.labels[train[batch.numpy()]])
            optimizer.zero_grad()
            loss = criterion(model(inputs), labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())

    assert len(ours.losses) == 4
    assert len(set(losses)) == 4
    np.testing.assert_allclose(ours.losses, losses, atol=1e-3)


def test_the_seeds_method_has_the_seeds_settings():
    """Adam 1e-3, batches of 32, 10 epochs, 224 px."""
    config = FinetuneConfig(method="seed").completed()
    assert (config.lr, config.batch_size, config.epochs) == (1e-3, 32, 10)
    assert (config.image_px, config.subset) == (224, None)


def test_every_epoch_sees_every_training_image_once_in_another_order(manifest, watched):
    train = rows_of(manifest, "train").tolist()
    assert [len(rows) for rows in watched.rows] == [8, 8, 5, 8, 8, 5]
    first, second = flat(watched.rows[:3]), flat(watched.rows[3:])
    assert sorted(first) == sorted(second) == train
    assert first != second
    assert watched.tuned.train_images == len(train)


def test_a_short_last_batch_counts_by_its_images_in_the_train_loss(watched):
    for epoch, row in enumerate(watched.tuned.history):
        losses = watched.losses[3 * epoch : 3 * epoch + 3]
        assert row["train_loss"] == pytest.approx(np.average(losses, weights=[8, 8, 5]), rel=1e-6)


def test_all_layers_are_trained_and_batchnorm_follows_the_data(watched):
    before, after = initial_net().state_dict(), watched.tuned.net.state_dict()
    unmoved = [name for name in before if torch.equal(before[name], after[name])]
    assert unmoved == []
    assert all(int(after[name]) == 6 for name in after if name.endswith("num_batches_tracked"))


def test_the_new_layer_has_one_output_for_each_class(watched):
    assert watched.tuned.net.fc.weight.shape == (len(CLASSES), 512)


def test_training_starts_from_the_weights_that_were_asked_for_whatever_number_of_classes_they_have(manifest, tmp_path):
    file = tmp_path / "pretrained.pth"
    torch.save(initial_net(seed=5, classes=1000).state_dict(), file)
    config = dataclasses.replace(SMALL, weights=str(file), lr=1e-12, subset=3)
    found = training.finetune(manifest, Start(config), CPU).net
    torch.testing.assert_close(found.layer4[1].conv2.weight, initial_net(seed=5).layer4[1].conv2.weight)
    assert found.fc.out_features == len(CLASSES)


def test_the_same_seed_gives_the_same_losses_on_the_cpu_and_another_seed_others(manifest, watched):
    config = dataclasses.replace(SMALL, epochs=1)
    assert watch(manifest, config).losses == watched.losses[:3]
    assert watch(manifest, dataclasses.replace(config, seed=1, subset=8)).losses[0] != watched.losses[0]


# --- evaluation ---


def test_the_history_has_the_validation_figures_of_the_net_in_eval_mode(manifest, watched):
    rows = rows_of(manifest, "val")
    net = watched.tuned.net.eval()
    with torch.no_grad():
        logits = net(as_the_seed_sees(manifest, rows, 32))
    labels = torch.from_numpy(manifest.labels[rows])
    last = watched.tuned.history[-1]
    assert last["val_loss"] == pytest.approx(float(nn.functional.cross_entropy(logits, labels)), rel=1e-3)
    assert last["val_accuracy"] == pytest.approx(float((logits.argmax(dim=1) == labels).float().mean()))
    assert [row["epoch"] for row in watched.tuned.history] == [1, 2]


def test_evaluation_changes_nothing_in_the_net_even_if_it_comes_in_training_mode(manifest, watched):
    net = watched.tuned.net.train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    predict(net, ZERO_TO_ONE, Images(manifest, SQUASHED, 1), rows_of(manifest, "test"), CPU)
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


def test_an_images_prediction_does_not_depend_on_its_neighbours(manifest, watched):
    """BatchNorm in eval mode: an image alone gets what it gets among others."""
    images, rows = Images(manifest, SQUASHED, 1), rows_of(manifest, "test")
    _, together = predict(watched.tuned.net, ZERO_TO_ONE, images, rows, CPU)
    _, alone = predict(watched.tuned.net, ZERO_TO_ONE, images, rows[4:5], CPU)
    np.testing.assert_allclose(alone[0], together[4], atol=1e-5)


def test_predictions_come_in_the_order_that_was_asked_for(manifest, watched, monkeypatch):
    monkeypatch.setattr("headstart.finetuning.batches.EVALUATION_IMAGES", 4)
    images, rows = Images(manifest, SQUASHED, 2), rows_of(manifest, "test")
    found, forward = predict(watched.tuned.net, ZERO_TO_ONE, images, rows, CPU)
    _, backward = predict(watched.tuned.net, ZERO_TO_ONE, images, rows[::-1].copy(), CPU)
    assert found.tolist() == rows.tolist()
    np.testing.assert_allclose(backward[::-1], forward, atol=1e-5)
    np.testing.assert_allclose(forward.sum(axis=1), 1, atol=1e-5)


def test_the_epoch_that_is_kept_is_the_best_by_the_figure_that_was_asked_for(manifest, monkeypatch):
    """Of three epochs with these accuracies and macro-F1s the second."""
    figures = iter([(0.9, 0.5), (0.8, 0.7), (0.7, 0.6)])

    def play(tuner):
        accuracy, macro_f1 = next(figures)
        return 0.5, accuracy, macro_f1

    monkeypatch.setattr(training._Tuner, "_validate", play)
    config = dataclasses.replace(TINY, epochs=3, subset=6, select="macro_f1")
    tuned = training.finetune(manifest, Start(config), CPU)
    assert tuned.best_epoch == 2
    assert [row["val_macro_f1"] for row in tuned.history] == [0.5, 0.7, 0.6]


def test_without_a_validation_split_its_figures_are_nan_and_training_goes_on(tmp_path):
    with pytest.warns(DataWarning, match="No image in val"):
        alone = labelled.load(str(listed(tmp_path, [("train", 3), ("test", 1)])))
    tuned = training.finetune(alone, Start(SMALL), CPU)
    assert math.isnan(tuned.history[0]["val_loss"])
    assert math.isnan(tuned.history[0]["val_accuracy"])
    assert math.isfinite(tuned.history[0]["train_loss"])


def listed(root: Path, splits) -> Path:
    """A CSV, whose splits are taken as they are; val is there, but without a label."""
    photos(root / "p", **dict(splits), val=1)
    lines = ["path,label,split"]
    for file in sorted((root / "p").glob("*/*/*.png")):
        split, label = file.parts[-3:-1]
        lines.append(f"{file.relative_to(root)},{'' if split == 'val' else label},{split}")
    (root / "list.csv").write_text("\n".join(lines) + "\n")
    return root / "list.csv"


# --- the file ---


def test_the_saved_file_is_plain_torchvisions_and_gives_the_runs_predictions(manifest, watched, tmp_path):
    file = tmp_path / "finetuned_resnet18.pth"
    save_tuned(watched.tuned.net, watched.tuned.scale, file)
    net = resnet18(num_classes=len(CLASSES))
    net.load_state_dict(torch.load(file, weights_only=True), strict=True)
    rows, expected = predict(
        watched.tuned.net, ZERO_TO_ONE, Images(manifest, SQUASHED, 1), rows_of(manifest, "test"), CPU
    )
    with torch.no_grad():
        found = net.eval()(as_the_seed_sees(manifest, rows, 32)).softmax(dim=1)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_the_saved_file_serves_as_weights_for_extract_with_the_pixels_it_was_trained_on(manifest, watched, tmp_path):
    """Pixels in [0, 1], without ImageNet's mean: else the features are another net's."""
    file = tmp_path / "finetuned_resnet18.pth"
    save_tuned(watched.tuned.net, watched.tuned.scale, file)
    config = ExtractConfig(
        data=str(manifest.root),
        cache=tmp_path / "f.h5",
        backbone="resnet18",
        weights=str(file),
        image_px=32,
        resize="squash",
        precision="fp32",
        compile="off",
        storage="float32",
        batch_size=len(manifest),
        workers=1,
    )
    cache = updating.bring_up_to_date(config).cache
    net = load_backbone("resnet18", str(file))[0].net.eval()
    net.fc = nn.Identity()
    pixels = as_the_seed_sees(manifest, range(len(manifest)), 32)
    with torch.no_grad():
        expected = net(pixels).numpy()
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET.mean, IMAGENET.std))
        wrong = net((pixels - mean) / std).numpy()
    found = cache.read()
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()
    assert np.abs(found - wrong).max() > 1e-2 * np.abs(expected).max()


# --- images that do not fit ---


def test_a_last_batch_of_a_single_image_does_not_stop_training(manifest):
    """At 32 px BatchNorm sees one number per channel there, from which it cannot learn."""
    watched = watch(manifest, dataclasses.replace(SMALL, batch_size=5))
    assert [len(rows) for rows in watched.rows] == [5, 5, 5, 5]
    assert math.isfinite(watched.tuned.history[0]["train_loss"])


@pytest.fixture
def with_broken_files(tmp_path):
    """5 training images of each class, of which one is cut; one test image is empty."""
    root = photos(tmp_path / "photos", train=5, val=1, test=2)
    cut = root / "train" / "dog" / "3.png"
    cut.write_bytes(cut.read_bytes()[:300])
    (root / "test" / "cat" / "0.png").write_bytes(b"")
    return labelled.load(str(root))


def test_unreadable_images_are_left_out_and_counted(with_broken_files):
    manifest = with_broken_files
    paths = [manifest.relative_path(row) for row in range(len(manifest))]
    watched = watch(manifest, dataclasses.replace(SMALL, epochs=2))
    cut = paths.index("train/dog/3.png")
    for rows in (flat(watched.rows[:2]), flat(watched.rows[2:])):
        assert sorted(rows) == [row for row in rows_of(manifest, "train") if row != cut]
    assert watched.tuned.unreadable == {cut}
    assert watched.tuned.train_images == 14

    images = Images(manifest, SQUASHED, 1)
    rows, probabilities = predict(watched.tuned.net, ZERO_TO_ONE, images, rows_of(manifest, "test"), CPU)
    assert [paths[row] for row in rows] == [
        f"test/{name}.png" for name in ("bird/0", "bird/1", "cat/1", "dog/0", "dog/1")
    ]
    assert probabilities.shape == (5, 3)
    assert images.unreadable == {paths.index("test/cat/0.png")}


def test_training_images_none_of_which_is_readable_are_an_error_that_says_so(tmp_path):
    root = photos(tmp_path / "photos", train=1, val=1, test=1)
    for file in root.glob("train/*/*.png"):
        file.write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"Fewer than two training images in .*photos are readable"):
        training.finetune(labelled.load(str(root)), Start(SMALL), CPU)


def test_nobody_to_test_on_gives_no_predictions_and_no_error(manifest, watched):
    rows, probabilities = predict(
        watched.tuned.net, ZERO_TO_ONE, Images(manifest, SQUASHED, 1), np.empty(0, np.int64), CPU
    )
    assert len(rows) == len(probabilities) == 0


# --- a part of the data ---


def test_fine_tuning_trains_on_the_subset_alone(manifest):
    watched = watch(manifest, dataclasses.replace(SMALL, subset=6))
    assert [len(rows) for rows in watched.rows] == [6]
    assert sorted(manifest.labels[watched.rows[0]].tolist()) == [0, 0, 1, 1, 2, 2]
    assert watched.tuned.train_images == 6


def test_only_training_images_with_a_label_are_trained_on(tmp_path):
    root = photos(tmp_path / "p", train=3, test=1, val=1)
    files = sorted(root.glob("*/*/*.png"))
    lines = [f"{file.relative_to(tmp_path)},{file.parent.name},{file.parent.parent.name}" for file in files]
    lines[lines.index("p/train/cat/1.png,cat,train")] = "p/train/cat/1.png,,train"
    (tmp_path / "list.csv").write_text("path,label,split\n" + "\n".join(lines) + "\n")
    manifest = labelled.load(str(tmp_path / "list.csv"))
    watched = watch(manifest, SMALL)
    paths = sorted(manifest.relative_path(row) for row in watched.rows[0])
    assert paths == sorted(
        str(file.relative_to(tmp_path)) for file in files if "/train/" in str(file) and file != root / "train/cat/1.png"
    )


# --- the strong method ---

STRONG = dataclasses.replace(SMALL, method="strong", resize="squash", precision="fp32")
TINY = dataclasses.replace(STRONG, backbone="timm:test_efficientnet")
"""For what does not depend on the net."""


def untimed(history):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in history]


@pytest.mark.slow
def test_the_rate_rises_and_then_falls_to_nothing(manifest, monkeypatch):
    rates, step = [], training._Tuner._step

    def noting(tuner, pixels, rows, images):
        loss = step(tuner, pixels, rows, images)
        rates.append(tuner.optimizer.param_groups[0]["lr"])
        return loss

    monkeypatch.setattr(training._Tuner, "_step", noting)
    training.finetune(manifest, Start(dataclasses.replace(TINY, epochs=10, subset=6, batch_size=2)), CPU)
    assert len(rates) == 30
    assert rates[0] < rates[1] == max(rates) == 1e-3
    assert rates[1:] == sorted(rates[1:], reverse=True)
    assert rates[-1] < 1e-5


@pytest.fixture(scope="module")
def strong(manifest) -> Watched:
    return watch(manifest, dataclasses.replace(STRONG, epochs=3))


def test_every_epoch_shows_other_crops_and_none_shows_the_same_picture_as_it_is(manifest, monkeypatch):
    seen: dict[int, list[bytes]] = {}
    step = training._Tuner._step

    def noting(tuner, pixels, rows, images):
        for row, image in zip(rows.tolist(), pixels, strict=True):
            seen.setdefault(row, []).append(image.numpy().tobytes())
        return step(tuner, pixels, rows, images)

    monkeypatch.setattr(training._Tuner, "_step", noting)
    training.finetune(manifest, Start(dataclasses.replace(TINY, epochs=2, subset=6)), CPU)
    assert all(len(set(pictures)) == 2 for pictures in seen.values())
    seen.clear()
    training.finetune(manifest, Start(dataclasses.replace(TINY, epochs=2, subset=6, augment="none")), CPU)
    assert all(len(set(pictures)) == 1 for pictures in seen.values())


@pytest.mark.slow
def test_the_net_that_is_kept_is_that_of_the_best_epoch_by_validation(manifest, monkeypatch):
    accuracies = iter([0.5, 0.75, 0.25])
    monkeypatch.setattr(training._Tuner, "_validate", lambda tuner: (1.0, *[next(accuracies)] * 2))
    config = dataclasses.replace(TINY, subset=6)
    tuned = training.finetune(manifest, Start(dataclasses.replace(config, epochs=3)), CPU)
    assert tuned.best_epoch == 2
    last, accuracies = [], iter([0.5, 0.75, 0.25])
    train = training._Tuner._train

    def noting(tuner, epoch):
        last.append({name: tensor.clone() for name, tensor in tuner.net.state_dict().items()})
        return train(tuner, epoch)

    monkeypatch.setattr(training._Tuner, "_train", noting)
    training.finetune(manifest, Start(dataclasses.replace(config, epochs=3)), CPU)
    assert all(torch.equal(tensor, last[2][name]) for name, tensor in tuned.net.state_dict().items())


@pytest.mark.parametrize("method", ["strong", "seed"])
def test_on_a_gpu_the_host_waits_only_at_the_end_of_an_epoch(manifest, monkeypatch, method):
    """No step reads a loss, copies from memory that is not pinned, or sends what stays the same once more."""
    config = TINY if method == "strong" else dataclasses.replace(SMALL, backbone=TINY.backbone)
    config = dataclasses.replace(config, epochs=2)
    waits, step = [], training._Tuner._step
    with pretend_cuda.resizing(monkeypatch), pretend_cuda.cuda(autograd=True) as counts:

        def noting(tuner, pixels, rows, images):
            waits.append(dict(counts.host_waits))
            assert pixels.is_cuda
            loss = step(tuner, pixels, rows, images)
            waits.append(dict(counts.host_waits))
            return loss

        monkeypatch.setattr(training._Tuner, "_step", noting)
        found = training.finetune(manifest, Start(config), torch.device("cuda"))
    assert counts.kernels["copy"] >= 2 * 6  # pixels and labels of each step
    first, second = waits[:6], waits[6:]
    assert first == [first[0]] * 6
    assert second == [second[0]] * 6
    monkeypatch.undo()
    assert untimed(found.history) == untimed(training.finetune(manifest, Start(config), CPU).history)


def test_only_steps_with_full_batches_are_compiled_and_the_rest_is_as_ever(manifest, strong, monkeypatch):
    """Each other shape, and validation, would be compiled for itself."""
    sizes, told = [], []

    class Counting(nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net = [net]  # not a part

        def forward(self, inputs):
            sizes.append(len(inputs))
            return self.net[0](inputs)

    def compiling(net, config, device, steps):
        told.append(steps)
        return Counting(net)

    monkeypatch.setattr(training, "for_full_batches", compiling)
    found = watch(manifest, dataclasses.replace(STRONG, epochs=3))
    assert [len(rows) for rows in found.rows] == [8, 8, 5] * 3
    assert sizes == [8] * 6
    assert told == [6]
    assert found.losses == strong.losses


@pytest.mark.slow
def test_bf16_trains_weights_of_fp32_to_about_the_same_losses(manifest, strong):
    found = watch(manifest, dataclasses.replace(STRONG, precision="bf16"))
    assert found.tuned.precision == "bf16"
    assert all(weight.dtype == torch.float32 for weight in found.tuned.net.parameters())
    # Of an untrained net, whose loss differs by 0.12 on a processor without bf16.
    np.testing.assert_allclose(found.losses[0], strong.losses[0], rtol=0.2)
    assert found.losses[0] != strong.losses[0]


def test_a_loss_that_is_no_number_is_an_error_with_advice(manifest):
    with pytest.raises(TrainingFailed, match=r"The loss became .* in epoch 1\. Try a lower --lr"):
        training.finetune(manifest, Start(dataclasses.replace(SMALL, lr=1e30, epochs=2)), CPU)


# --- part of the net ---


@pytest.mark.parametrize(("train_from", "moving"), [("layer3", 3), ("layer4", 2), ("fc", 1)])
def test_frozen_layers_do_not_move_statistics_included_and_the_others_do(manifest, train_from, moving):
    config = dataclasses.replace(STRONG, train_from=train_from)
    tuned = training.finetune(manifest, Start(config), CPU)
    before, after = initial_net_of(Start(config), manifest.classes).net.state_dict(), tuned.net.state_dict()
    stages = ["conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc"]
    moved = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert moved == set(stages[-moving:])
    unmoved = [
        name for name in before if name.split(".")[0] in stages[-moving:] and torch.equal(before[name], after[name])
    ]
    assert unmoved == []


@pytest.mark.slow
def test_batchnorm_keeps_its_statistics_where_that_is_asked_for_while_its_weights_are_trained(manifest):
    config = dataclasses.replace(STRONG, freeze_batchnorm=True)
    before = initial_net_of(Start(config), manifest.classes).net.state_dict()
    after = training.finetune(manifest, Start(config), CPU).net.state_dict()
    for name in before:
        kept = name.endswith(("running_mean", "running_var", "num_batches_tracked"))
        assert torch.equal(before[name], after[name]) == kept, name


# --- going on ---


class Stopped(Exception):
    pass


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "finished"), [(TINY, 1), (dataclasses.replace(SMALL, lr=1e-4), 2)], ids=["strong", "seed"]
)
def test_a_training_that_was_stopped_goes_on_and_ends_where_an_undisturbed_one_does(
    manifest, tmp_path, monkeypatch, config, finished
):
    config = dataclasses.replace(config, epochs=3, subset=12)
    undisturbed = training.finetune(manifest, Start(config), CPU)
    checkpoint = Checkpoint(tmp_path, {"a": 1})
    train = training._Tuner._train

    def stopping(tuner, epoch):
        if epoch > finished:
            tuner._step(torch.zeros(2, 32, 32, 3, dtype=torch.uint8), tuner.rows[:2], 2)  # in the middle of an epoch
            raise Stopped
        return train(tuner, epoch)

    monkeypatch.setattr(training._Tuner, "_train", stopping)
    with pytest.raises(Stopped):
        training.finetune(manifest, Start(config), CPU, checkpoint)
    monkeypatch.setattr(training._Tuner, "_train", train)
    resumed = watch(manifest, config, checkpoint)
    assert len(resumed.losses) == 2 * (3 - finished), "finished epochs are not trained again"
    assert untimed(resumed.tuned.history) == untimed(undisturbed.history)
    assert resumed.tuned.best_epoch == undisturbed.best_epoch
    state = resumed.tuned.net.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in undisturbed.net.state_dict().items())


WRONG = {
    "a history that is a text": ("history", "none"),
    "a history of other columns": ("history", [{"epoch": 1}]),
    "a best epoch that is none": ("best_epoch", 7),
    "a precision that is none": ("precision", "fp64"),
    "images that are none": ("unreadable", [10**6]),
    "numbers that are texts": ("numbers", ("a", "b", "c")),
    "another net": ("net", {"weight": torch.zeros(2)}),
    "another best net": ("best", {"weight": torch.zeros(2)}),
    "no optimizer": ("optimizer", {}),
    "random numbers of another kind": ("order", torch.zeros(3)),
    "no random numbers": ("random", None),
}


def test_a_checkpoint_that_holds_another_state_is_a_sentence_and_stays(manifest, tmp_path):
    """Its identity and checksum are right: whoever makes a file can write these, too."""
    saved, config = Checkpoint(tmp_path, {"a": 1}), dataclasses.replace(SMALL, epochs=1, subset=12)
    training.finetune(manifest, Start(config), CPU, saved)
    state, config = saved.load(), dataclasses.replace(config, epochs=2)
    moments = copy.deepcopy(state["optimizer"])
    next(iter(moments["state"].values()))["exp_avg"] = torch.zeros(3)
    wrong = [{**state, name: value} for name, value in [*WRONG.values(), ("optimizer", moments)]]
    wrong += [{name: value for name, value in state.items() if name != missing} for missing in state]
    for each in wrong:
        saved.save(each)
        before = saved.path.read_bytes()
        with pytest.raises(
            RunError, match=r"checkpoint\.pth does not hold the state of this training \(.+\)\. Move it"
        ):
            training.finetune(manifest, Start(config), CPU, saved)
        assert saved.path.read_bytes() == before
    saved.save(state)
    assert len(training.finetune(manifest, Start(config), CPU, saved).history) == 2


def test_an_epoch_that_was_said_to_be_done_is_kept(manifest, tmp_path, monkeypatch):
    """Ctrl-C just after its line goes on after it."""
    checkpoint, config = Checkpoint(tmp_path, {"a": 1}), dataclasses.replace(SMALL, epochs=2, subset=12)

    def stop(line):
        raise Stopped

    monkeypatch.setattr(training, "say", stop)
    with pytest.raises(Stopped):
        training.finetune(manifest, Start(config), CPU, checkpoint)
    assert len(checkpoint.load()["history"]) == 1
