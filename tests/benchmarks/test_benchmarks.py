"""The benchmark measures what it says: other bytes for every photo, the same work for every contestant."""

import os
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import pretend_cuda
from helpers.pictures import decoded, picture

from headstart.benchmarks import by_hand, heads, limits, lock, photos, rounds, storing, tables
from headstart.benchmarks import extraction as passing
from headstart.cache import recipe
from headstart.cache.feature_cache import FeatureCache
from headstart.cache.recipe import Recipe
from headstart.datasets.manifest import SPLITS
from headstart.errors import DataError
from headstart.extraction import precision as tuning
from headstart.images.geometry import Geometry
from headstart.models.loading import load_backbone
from headstart.settings import BenchmarkConfig, ExtractConfig, FinetuneConfig

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")


def test_photos_that_are_used_again_have_other_bytes_and_the_same_pixels(tmp_path, make_photos):
    source = make_photos({"cat": 1, "dog": 1}, suffix=".jpg")
    manifest = photos.gather(source, tmp_path / "gathered", 6)
    contents = [manifest.place(row).read_bytes() for row in range(6)]
    assert len(set(contents)) == 6
    geometry = recipe.from_config(ExtractConfig(weights="random", image_px=32)).geometry
    pixels = {decoded(content, geometry).tobytes() for content in contents}
    assert len(pixels) == 2


def test_a_folder_without_photos_is_named(tmp_path):
    with pytest.raises(DataError, match="holds no images"):
        photos.gather(tmp_path, tmp_path / "gathered", 4)


def test_photos_are_made_up_where_none_are_given(tmp_path):
    manifest = photos.gather(None, tmp_path / "gathered", 4)
    assert len(manifest) == 4
    assert all(20_000 < size < 300_000 for size in manifest.sizes), "about as many bytes as a photo of this size"


def test_only_what_holds_the_lock_counts_as_such():
    """A sleep lets others run, a loop does not."""

    def loop() -> None:
        end = time.thread_time() + 0.004
        while time.thread_time() < end:
            pass

    assert 2 * lock.held_seconds(partial(time.sleep, 0.004)) < lock.held_seconds(loop)


@pytest.fixture
def made() -> Recipe:
    return recipe.from_config(ExtractConfig(weights="random", image_px=32, precision="fp32", compile="off"))


def test_what_is_written_is_what_is_read(tmp_path, made):
    storage = storing.Storage(made, tmp_path, 300)
    assert storage.write() > 0
    assert storage.tofile() > 0
    assert np.array_equal(FeatureCache(storage.path).read(), storage.features)
    assert np.array_equal(np.fromfile(storage.raw, storage.features.dtype), storage.features.ravel())
    assert min(storage.load(), storage.load_verified(), storage.fromfile(), storage.check()) > 0


def test_what_people_write_by_hand_runs(tmp_path, make_photos):
    manifest = photos.gather(make_photos({"cat": 1, "dog": 1}), tmp_path / "gathered", 4)
    hand = by_hand.ByHand(manifest, 2, 1, CPU, image_px=32)
    assert min(hand.features(), hand.head_each_epoch(), hand.fine_tuning(4)) > 0


def test_what_people_write_by_hand_computes_on_a_gpu_as_torch_does_by_default(tmp_path, make_photos, monkeypatch):
    """With TF32 in convolutions: without it, we would look faster than we are."""
    manifest = photos.gather(make_photos({"cat": 1, "dog": 1}), tmp_path / "gathered", 4)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    hand = by_hand.ByHand(manifest, 2, 1, torch.device("cuda"), "mobilenet_v3_small", "random", 32)
    monkeypatch.setattr(by_hand, "DataLoader", lambda data, size, pin_memory, **_: Batches(data, size, pin_memory))
    with pretend_cuda.cuda(autograd=True) as counts:
        assert hand.features() > 0
    assert counts.kernels.total() > 100, "it ran on the device"
    assert torch.backends.cudnn.allow_tf32


class Batches:
    """Instead of torch's loader, whose processes would not see the stand-in for CUDA."""

    def __init__(self, data, size, pin_memory):
        self.data, self.size, self.pin_memory = data, size, pin_memory

    def __iter__(self):
        for begin in range(0, len(self.data), self.size):
            images, labels = zip(*(self.data[row] for row in range(begin, begin + self.size)), strict=True)
            yield torch.stack(images).pin_memory(), torch.tensor(labels)


def test_what_starts_once_counts_for_no_rate():
    """Workers of a loader, cuDNN, a compiler: by hand they are as warm as ours."""
    seen = []

    def work(batch, labels):
        time.sleep(0 if seen else 0.5)
        seen.append(len(labels))

    batches = [(torch.zeros(2, 3), torch.zeros(2))] * 5
    assert by_hand.warm_rate(batches, work) > 10 / 0.5
    assert seen == [2] * 6, "one batch more than an epoch"


def test_on_a_gpu_so_many_images_are_measured_that_the_start_does_not_count():
    assert BenchmarkConfig().completed(on_cuda=True).images >= 16_000
    assert BenchmarkConfig().completed(on_cuda=False).images == 256
    assert BenchmarkConfig(images=9, batch_size=3).completed(on_cuda=True).images == 9


def test_what_people_write_by_hand_sees_the_pixels_of_the_net(tmp_path, make_photos):
    manifest = photos.gather(make_photos({"cat": 1, "dog": 1}), tmp_path / "gathered", 4)
    made, _ = load_backbone("efficientnet_b1", "random")
    image = picture(3, (300, 320))
    ours = Geometry(made.image_px, made.resize, made.shorter_px, False, made.interpolation).square(image)
    assert torch.allclose(by_hand.preset(made, None)(image)[None], made.scale(pil_to_pixels(ours)), atol=1e-5)
    assert by_hand.ByHand(manifest, 2, 1, CPU, "mobilenet_v3_small", "random", 64).features() > 0


def pil_to_pixels(image):
    return torch.from_numpy(np.asarray(image).copy())[None]


def test_the_pass_of_several_backbones_is_measured_against_its_parts(tmp_path, make_photos):
    manifest = photos.gather(make_photos({"cat": 1, "dog": 1}), tmp_path / "gathered", 6)
    same = {"weights": "random", "image_px": 64, "compile": "off", "precision": "fp32", "batch_size": 2}
    configs = [ExtractConfig(backbone=name, device="cpu", **same) for name in ("mobilenet_v3_small", "resnet18")]
    extractions = [passing.Extraction(manifest, config, tmp_path) for config in configs]
    rates = rounds.rounds(passing.contestants(extractions), 2)
    assert list(rates) == ["all in one pass", "ceiling mobilenet_v3_small", "ceiling resnet18", "decode ceiling"]
    assert FeatureCache(tmp_path / "benchmark-1.h5").recipe.backbone == "resnet18"
    rates = {"all in one pass": [5.0], "ceiling a": [20.0], "ceiling b": [20.0], "decode ceiling": [20.0]}
    assert "takes 1.333 of the time" in tables.limit_of_several(rates), "1/5 s against 3/20 s an image"


def test_a_contestant_in_its_own_process_is_not_in_ours():
    assert rounds.in_its_own_process(own_process_id)() != own_process_id()


def own_process_id() -> float:
    return float(os.getpid())


def test_contestants_take_turns_and_ratios_are_taken_within_a_round():
    order = []
    rates = {"a": iter([10.0, 100.0, 40.0]), "b": iter([5.0, 50.0, 10.0])}
    contestants = {name: lambda name=name: (order.append(name), next(rates[name]))[1] for name in rates}
    measured = rounds.rounds(contestants, 3)
    assert order == ["a", "b", "b", "a", "a", "b"], "each round begins with another"
    assert rounds.ratio(measured, "a", "b") == 2.0, "the median of 2, 2 and 4"


def test_the_machine_is_named():
    assert torch.__version__ in rounds.machine(CPU)
    assert Path("/proc/cpuinfo").exists() is False or "cores of" in rounds.machine(CPU)


def test_the_instructions_that_matter_are_named(monkeypatch):
    xeon = {"avx2": True, "avx512_f": True, "avx512_vnni": True, "avx_vnni": True, "amx_int8": False, "sse": True}
    arm = {"neon": True, "dot": True, "i8mm": True, "bf16": True, "sve": False}
    for found, words in (
        (xeon, "AVX2, AVX512, VNNI"),
        (arm, "NEON, dot products of int8, products of int8 matrices, bf16"),
    ):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=found: found, raising=False)
        assert f"({words})" in rounds.machine(CPU)
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert rounds.instructions() == torch.backends.cpu.get_cpu_capability()


def test_auto_is_measured_as_a_long_pass_would_run_not_as_the_few_images_of_a_round(tmp_path, make_photos, monkeypatch):
    rates, features = {"fp32": 10.0, "bf16": 30.0}, torch.rand(2, 2048)
    monkeypatch.setattr(tuning, "fast_form", lambda net, scale, precision, compiled, device: precision)
    monkeypatch.setattr(tuning, "timed", lambda form, pixels: (rates[form], features))
    monkeypatch.setattr(tuning, "_candidate", lambda device: "bf16")
    manifest = photos.gather(make_photos({"cat": 1, "dog": 1}), tmp_path / "gathered", 2)
    config = ExtractConfig(weights="random", image_px=32, compile="off", device="cpu")
    extraction = passing.Extraction(manifest, config, tmp_path)
    assert extraction.recipe.precision == "bf16"
    assert extraction.describe() == "ours: bf16, eager, as auto chooses for 1,000,000 images"


def test_predicting_is_measured_on_all_photos_with_the_form_of_the_pass(tmp_path, make_photos):
    manifest = photos.gather(make_photos({"cat": 1, "dog": 1}), tmp_path / "gathered", 5)
    config = ExtractConfig(weights="random", image_px=32, compile="off", precision="fp32", batch_size=2, device="cpu")
    extraction = passing.Extraction(manifest, config, tmp_path)
    assert extraction.predicting() > 0
    assert len((tmp_path / "benchmark.csv").read_text().splitlines()) == 1 + 5


def test_the_loop_written_by_hand_and_our_head_learn_the_same():
    training = heads.Heads(1_000, CPU)
    assert min(training.plain(), training.one(), training.many(), training.swept()) > 0
    assert training.accuracies["one head"] > 0.2, "better than chance"
    assert abs(training.accuracies["one head"] - training.accuracies["plain loop"]) < 0.15


def test_what_the_machine_allows_follows_from_operations_and_bytes():
    """A head of one layer: two products with its weights, and Adam, whose bytes are in the cache."""
    weights, biases, rows = 8 * 4, 4, 16
    of_products = limits.Limits(1.0, 1e30, 1e9).rows_per_second((8, 4), rows)
    assert of_products == pytest.approx(rows / (2 * rows * (2 * weights + 3 * biases) / 1e9))
    of_bytes = limits.Limits(1.0, 1e9, 1e30).rows_per_second((8, 4), rows)
    assert of_bytes == pytest.approx(rows / (28 * (weights + biases) / 1e9))


def test_the_limits_of_this_machine_are_measured_and_told(monkeypatch):
    monkeypatch.setattr(limits, "SECONDS", 0.0)
    found = limits.measure()
    assert min(found.memory_bytes, found.cache_bytes, found.operations) > 0
    allowed = found.rows_per_second((2048, 256, 10), 32)
    machine, share = found.lines(allowed / 2)
    assert "GB/s" in machine
    assert "GFLOP/s" in machine
    assert "64 heads: 0.50 of the" in share


def test_the_table_names_unit_and_baseline_and_the_costs_follow_from_the_rates():
    rates = {"plain": [2.0], "ours": [8.0], "backbone each epoch": [2.0], "plain loop": [100.0], "one head": [8_000.0]}
    lines = tables.table(rates)
    assert "8.00 images/s" in lines[2]
    assert "4.00 x plain" in lines[2]
    assert "8,000 rows/s" in lines[5]
    assert "80.00 x plain loop" in lines[5]
    costs = tables.costs(rates, 800)
    assert costs[1].split() == ["1", "experiment", "1", "h", "6", "min", "1", "min", "41", "s", "40"]
    assert costs[-1].split()[-1] == "4,000", "10 * 800 / 2 against 10 * 800 / 8000 seconds"


def test_fine_tuning_is_measured_without_its_words(tmp_path, make_photos, capsys):
    manifest = photos.gather(make_photos({"cat": 1, "dog": 1}), tmp_path / "gathered", 12)
    config = FinetuneConfig(weights="random", image_px=32, epochs=1, batch_size=4, subset=6, workers=1)
    assert passing.fine_tuning(manifest, config, CPU) > 0
    assert capsys.readouterr().out == ""


def test_the_first_epoch_of_fine_tuning_which_compiles_counts_for_no_rate(tmp_path, make_photos, monkeypatch):
    manifest = photos.gather(make_photos({"cat": 1, "dog": 1}), tmp_path / "gathered", 12)

    def finetune(manifest, start, device, after_epoch):
        assert start.config.epochs == 2
        assert {SPLITS[split] for split in manifest.splits} == {"train"}, "no time for validation"
        for seconds in (60.0, 62.0):
            after_epoch({"seconds": seconds})
        return SimpleNamespace(train_images=12, images_per_second=24 / 62)

    monkeypatch.setattr(passing, "finetune", finetune)
    assert passing.fine_tuning(manifest, FinetuneConfig(weights="random", image_px=32), CPU) == 12 / 2
