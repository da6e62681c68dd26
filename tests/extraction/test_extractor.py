"""The one pass: row i is image i, as torchvision would have it, computed once, whatever happens on the way."""

import errno
import functools
import os
import shutil
import signal
import threading
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.extraction import begin, config, fill_one, flip, stop_after, watching
from helpers.pictures import decoded, picture
from PIL import Image
from torch import nn
from torchvision.models import ResNet50_Weights, resnet50

from headstart.cache import recipe, writing
from headstart.cache.feature_cache import FeatureCache
from headstart.cache.layout import DONE, PENDING, UNREADABLE
from headstart.cache.writing import CacheWriter
from headstart.datasets import labelled
from headstart.errors import CacheDamaged, CacheError
from headstart.extraction import extractor as extraction
from headstart.extraction import filling, one_pass, precision
from headstart.extraction.deciding import resolve
from headstart.extraction.extractor import CANARIES, Extractor
from headstart.images import decoding, loading
from headstart.models.backbone import IMAGENET
from headstart.models.loading import load_backbone
from headstart.settings import ExtractConfig

pytestmark = pytest.mark.filterwarnings("ignore::headstart.errors.DataWarning")


@pytest.fixture(scope="module", autouse=True)
def watch(one_net):
    with watching() as watch:
        yield watch


def extract(path: Path, settings: ExtractConfig) -> FeatureCache:
    begin(path, settings)
    fill_one(Extractor(settings), path)
    return FeatureCache(path)


@functools.cache
def _plain_net() -> nn.Module:
    plain = resnet50()
    plain.load_state_dict(load_backbone("resnet50", "random", 0)[0].net.state_dict())
    plain.fc = nn.Identity()
    return plain.eval()


def torchvisions(pixels: torch.Tensor) -> torch.Tensor:
    """(B, 3, H, W) normalised pixels → features, by the plain net."""
    with torch.no_grad():
        return _plain_net()(pixels)


def test_row_i_is_image_i_and_equals_torchvisions_features_of_its_pixels(make_photos, tmp_path):
    settings = config(make_photos({"cat": 9, "dog": 6}), storage="float32")
    cache = extract(tmp_path / "pets.h5", settings)
    geometry = cache.recipe.geometry
    pixels = [decoded(cache.manifest.place(row).read_bytes(), geometry) for row in range(15)]
    reference = torchvisions(IMAGENET(torch.from_numpy(np.stack(pixels)))).numpy()
    assert (cache.status == DONE).all()
    assert np.abs(cache.read() - reference).max() <= 1e-5 * reference.max()
    for row in range(15):
        content = cache.manifest.place(row).read_bytes()
        assert cache.digest(row) == loading.content_digest(content)


def landscape(seed: int, width: int, height: int) -> Image.Image:
    """A smooth picture, as photos are: a few random waves, each of another size and direction, in colour."""
    generator = np.random.default_rng(seed)
    across, down = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, height / width, height))
    total = np.zeros((height, width, 3))
    for frequency in generator.uniform(1, 12, 14):
        angle, phase = generator.uniform(0, 2 * np.pi, 2)
        wave = np.sin(2 * np.pi * frequency * (across * np.cos(angle) + down * np.sin(angle)) + phase)
        total += wave[..., None] * generator.normal(0, 1, 3) / np.sqrt(frequency)
    total = (total - total.min()) / (total.max() - total.min())
    return Image.fromarray((255 * total).astype(np.uint8))


def test_features_from_files_are_those_of_torchvisions_own_preset(tmp_path):
    """Photos of many sizes as JPEG, float16 storage included, against Pillow and `weights.transforms()`."""
    generator = np.random.default_rng(0)
    for number in range(24):
        file = tmp_path / "photos" / ("even", "odd")[number % 2] / f"{number:02}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        width, height = generator.integers(100, 301 if number < 16 else 601, 2).tolist()
        landscape(number, width, height).save(file, quality=92)
    cache = extract(tmp_path / "photos.h5", config(tmp_path / "photos", image_px=64))
    preset = ResNet50_Weights.IMAGENET1K_V1.transforms(crop_size=64, resize_size=73)
    pictures = [preset(Image.open(cache.manifest.place(row)).convert("RGB")) for row in range(24)]
    reference = torchvisions(torch.stack(pictures)).numpy()
    mean = reference.mean(axis=0)
    ours, theirs = cache.read().astype(np.float32) - mean, reference - mean
    cosines = (ours @ theirs.T) / np.linalg.norm(ours, axis=1)[:, None] / np.linalg.norm(theirs, axis=1)
    assert np.diag(cosines).min() >= 0.9998
    assert (cosines.argmax(axis=1) == np.arange(24)).all()


def test_the_backbone_is_bit_for_bit_the_same_after_a_pass(make_photos, tmp_path):
    settings = config(make_photos({"cat": 3, "dog": 3}))
    extractor = Extractor(settings)
    before = {name: tensor.clone() for name, tensor in extractor.loaded.net.state_dict().items()}
    fill_one(extractor, begin(tmp_path / "pets.h5", settings))
    assert sum("running" in name for name in before) == 2 * 53
    assert all(torch.equal(tensor, before[name]) for name, tensor in extractor.loaded.net.state_dict().items())


@pytest.mark.slow
def test_the_number_of_workers_changes_no_bit_and_the_batch_size_only_rounding(make_photos, tmp_path):
    """A kernel for another batch size may add in another order: the last bits of fp32, which float16 hardly shows."""
    data = make_photos({"cat": 6, "dog": 5})
    reference = extract(tmp_path / "reference.h5", config(data, storage="float32")).read()
    for workers in (1, 3, 16):
        again = extract(tmp_path / f"workers {workers}.h5", config(data, storage="float32", workers=workers))
        assert np.array_equal(again.read(), reference), workers
    for batch_size in (1, 3, 11, 32):
        again = extract(tmp_path / f"batch {batch_size}.h5", config(data, storage="float32", batch_size=batch_size))
        assert np.abs(again.read() - reference).max() <= 1e-5 * reference.max(), batch_size


def test_ctrl_c_keeps_what_was_finished_and_the_next_pass_computes_exactly_the_rest(
    make_photos, tmp_path, monkeypatch, forwarded
):
    settings = config(make_photos({"cat": 10, "dog": 9}))
    undisturbed = extract(tmp_path / "undisturbed.h5", settings)
    path = begin(tmp_path / "pets.h5", settings)
    with monkeypatch.context() as interrupted:
        stop_after(interrupted, 3)
        with pytest.raises(KeyboardInterrupt):
            fill_one(Extractor(settings), path)
    stopped = FeatureCache(path)
    done = np.flatnonzero(stopped.status == DONE)
    assert done.tolist() == list(range(12))
    assert np.array_equal(stopped.read()[done], undisturbed.read()[done])
    forwarded.images = 0
    report = fill_one(Extractor(settings), path)
    assert report.forwarded == 7
    assert forwarded.images == 7 + CANARIES
    assert np.array_equal(FeatureCache(path).read(), undisturbed.read())


def test_ctrl_c_while_a_batch_is_being_written_waits_for_it(make_photos, tmp_path, monkeypatch):
    """Otherwise two threads would write status at once, one of them without a sync."""
    settings = config(make_photos({"cat": 12, "dog": 12}))
    path = begin(tmp_path / "pets.h5", settings)
    write, commit = CacheWriter.write, writing.commit_all
    main = threading.main_thread()
    writes, overlaps = [], []

    def slow_write(self, *arguments):
        writes.append("begun")
        if len(writes) == 2:
            time.sleep(0.3)  # the main thread has its next batch, and waits for this one
            signal.pthread_kill(main.ident, signal.SIGINT)
            time.sleep(0.3)
        write(self, *arguments)
        writes[-1] = "ended"

    def watched_commit(writers, seconds):
        if threading.current_thread() is main:
            overlaps.append(writes[-1] == "begun")
        commit(writers, seconds)

    monkeypatch.setattr(CacheWriter, "write", slow_write)
    monkeypatch.setattr(writing, "commit_all", watched_commit)
    with pytest.raises(KeyboardInterrupt):
        fill_one(Extractor(settings), path)
    assert overlaps == [False]
    assert np.flatnonzero(FeatureCache(path).status == DONE).tolist() == list(range(8))


def test_a_batch_size_halved_for_a_gpus_memory_holds_for_everything_that_goes_through_the_net(
    make_photos, tmp_path, monkeypatch
):
    """The sample that decides the precision and the canaries would not fit either."""
    sizes = []

    def form(net, scale, precision, compiled, device, scales=()):
        return lambda pixels: (sizes.append(len(pixels)), torch.rand(len(pixels), 2048))[1]

    monkeypatch.setattr(extraction, "fast_form", form)
    monkeypatch.setattr(precision, "fast_form", form)
    monkeypatch.setattr(
        "headstart.models.precision.fitting_batch_size", lambda forward, size, image_px, device: size // 2
    )
    settings = config(make_photos({"cat": 3, "dog": 3}))
    path, extractor = begin(tmp_path / "pets.h5", settings), Extractor(settings)
    made = FeatureCache(path).recipe
    with monkeypatch.context() as gpu:
        gpu.setattr(extractor, "device", torch.device("cuda"))
        assert extractor.batch_size(made) == 2
    monkeypatch.setattr(Extractor, "batch_size", lambda self, made: 2)
    resolve(extractor, replace(made, compiled=None), labelled.load(settings.data))
    fill_one(extractor, path)
    extractor.recompute(FeatureCache(path), np.arange(6)[None] < 3)
    assert set(sizes) == {2}


def test_identical_pictures_are_computed_once(make_photos, tmp_path, forwarded):
    data = make_photos({"cat": 5, "dog": 4})
    for number, source in enumerate(["cat/000.png", "cat/003.png", "dog/001.png", "cat/003.png"]):
        shutil.copy(data / source, data / "dog" / f"copy {number}.png")
    settings = config(data)
    path = begin(tmp_path / "pets.h5", settings)
    report = fill_one(Extractor(settings), path)
    assert (report.forwarded, report.copied, forwarded.images) == (9, 4, 9)
    cache = FeatureCache(path)
    rows = {cache.manifest.relative_path(row): row for row in range(len(cache))}
    features = cache.read()
    assert (cache.status == DONE).all()
    assert np.array_equal(features[rows["dog/copy 1.png"]], features[rows["cat/003.png"]])
    assert cache.digest(rows["dog/copy 1.png"]) == cache.digest(rows["cat/003.png"])
    assert not np.array_equal(features[rows["cat/000.png"]], features[rows["cat/003.png"]])


def test_a_picture_that_an_earlier_pass_finished_serves_its_copies(make_photos, tmp_path, monkeypatch, forwarded):
    data = make_photos({"cat": 6, "dog": 6})
    shutil.copy(data / "cat" / "001.png", data / "dog" / "copy.png")
    settings = config(data)
    path = begin(tmp_path / "pets.h5", settings)
    with monkeypatch.context() as interrupted:
        stop_after(interrupted, 2)
        with pytest.raises(KeyboardInterrupt):
            fill_one(Extractor(settings), path)
    report = fill_one(Extractor(settings), path)
    assert (report.forwarded, report.copied) == (4, 1)
    features = FeatureCache(path).read()
    assert np.array_equal(features[12], features[1])


def test_unreadable_images_get_a_reason_and_the_pass_goes_on(make_photos, tmp_path):
    data = make_photos({"cat": 8, "dog": 8})
    (data / "cat" / "001.png").write_bytes(b"")
    (data / "cat" / "002.png").write_text("This is no picture.")
    cut = (data / "dog" / "003.png").read_bytes()
    (data / "dog" / "003.png").write_bytes(cut[: len(cut) // 2])
    (data / "dog" / "007.png").unlink()
    (data / "dog" / "007.png").symlink_to("nowhere.png")
    settings = config(data)
    path = begin(tmp_path / "pets.h5", settings)
    report = fill_one(Extractor(settings), path)
    cache = FeatureCache(path)
    assert (report.forwarded, report.unreadable) == (12, 4)
    reasons = [decoding.REASONS[number] for number in cache.reasons]
    found = {cache.manifest.relative_path(row): reasons[row] for row in np.flatnonzero(cache.status == UNREADABLE)}
    assert found == {
        "cat/001.png": "the file is empty",
        "cat/002.png": "not an image",
        "dog/003.png": "truncated",
        "dog/007.png": "the file vanished",
    }
    assert (np.delete(cache.status, np.flatnonzero(cache.status == UNREADABLE)) == DONE).all()
    sound = extract(tmp_path / "sound.h5", config(_copy_of_the_sound(data, set(found))))
    assert np.array_equal(cache.read()[cache.status == DONE], sound.read())


def _copy_of_the_sound(data: Path, broken: set[str]) -> Path:
    """The same data set without its broken pictures."""
    copy = data.with_name("sound")
    for file in sorted(data.glob("*/*.png")):
        if str(file.relative_to(data)) not in broken:
            (copy / file.parent.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy / file.relative_to(data))
    return copy


def test_a_file_that_vanishes_after_it_was_listed_stops_nothing(make_photos, tmp_path):
    data = make_photos({"cat": 5, "dog": 5})
    settings = config(data)
    path = begin(tmp_path / "pets.h5", settings)
    (data / "dog" / "002.png").unlink()
    assert fill_one(Extractor(settings), path).unreadable == 1
    assert FeatureCache(path).status.tolist() == [DONE] * 7 + [UNREADABLE] + [DONE] * 2


def test_a_data_set_without_one_readable_image_ends_in_a_clear_way(make_photos, tmp_path):
    data = make_photos({"cat": 3, "dog": 3})
    for file in data.glob("*/*"):
        file.write_bytes(b"")
    settings = config(data)
    extractor = Extractor(settings)
    assert fill_one(extractor, begin(tmp_path / "pets.h5", settings)).unreadable == 6
    assert (FeatureCache(tmp_path / "pets.h5").status == UNREADABLE).all()
    with pytest.raises(CacheError, match="Not one of the 6 images"):
        resolve(
            extractor, replace(recipe.from_config(settings), precision="bf16", compiled=None), labelled.load(str(data))
        )


def _partly_done(path: Path, settings: ExtractConfig, monkeypatch) -> Path:
    begin(path, settings)
    with monkeypatch.context() as interrupted:
        stop_after(interrupted, 2)
        with pytest.raises(KeyboardInterrupt):
            fill_one(Extractor(settings), path)
    assert np.count_nonzero(FeatureCache(path).status == DONE) == 8
    return path


def test_a_machine_that_computes_other_features_is_not_let_in(make_photos, tmp_path, monkeypatch):
    """Finished rows are sound by their checksums, but this machine would compute them otherwise."""
    settings = config(make_photos({"cat": 7, "dog": 7}))
    path = _partly_done(tmp_path / "pets.h5", settings, monkeypatch)
    cache = FeatureCache(path)
    rows = np.flatnonzero(cache.status == DONE)
    with CacheWriter(FeatureCache(path)) as writer:
        writer.write(rows, cache.read()[rows] * np.float16(1.01), cache.digests[rows])
        writer.commit(0.0)
    before = path.read_bytes()
    with pytest.raises(CacheError, match="8 finished rows, computed again, differ by"):
        fill_one(Extractor(settings), path)
    assert path.read_bytes() == before


def test_a_damaged_row_is_called_damaged_when_a_pass_goes_on(make_photos, tmp_path, monkeypatch):
    """And not taken for the features of another machine."""
    settings = config(make_photos({"cat": 7, "dog": 7}))
    path = _partly_done(tmp_path / "pets.h5", settings, monkeypatch)
    flip(path, 0)
    with pytest.raises(CacheDamaged, match=r"row 0 \(cat/000\.png\).*--check-bytes"):
        fill_one(Extractor(settings), path)


def test_a_damaged_row_is_never_copied_to_an_identical_picture(make_photos, tmp_path, monkeypatch):
    """The copy would get a checksum of its own, and nobody would see the damage any more."""
    monkeypatch.setattr(extraction, "CANARIES", 2)  # the first and the last finished row: not the damaged one
    data = make_photos({"cat": 7, "dog": 7})
    shutil.copy(data / "cat" / "003.png", data / "dog" / "copy.png")
    settings = config(data)
    path = _partly_done(tmp_path / "pets.h5", settings, monkeypatch)
    flip(path, 3)
    with pytest.raises(CacheDamaged, match="row 3 "):
        fill_one(Extractor(settings), path)
    assert FeatureCache(path).status.tolist() == [DONE] * 14 + [PENDING]


@pytest.mark.parametrize("other", [b"the cache of somebody else", None], ids=["replaced", "removed"])
def test_a_cache_that_is_replaced_during_a_pass_ends_it_and_the_other_file_stays(
    make_photos, tmp_path, monkeypatch, other
):
    settings = config(make_photos({"cat": 10, "dog": 10}))
    path = begin(tmp_path / "pets.h5", settings)
    written = CacheWriter.write

    def replacing(writer, rows, *given):
        written(writer, rows, *given)
        if 9 in rows:
            path.unlink()
            if other:
                path.write_bytes(other)

    monkeypatch.setattr(CacheWriter, "write", replacing)
    with pytest.raises(CacheError, match="was replaced or removed by another program meanwhile"):
        fill_one(Extractor(settings), path)
    assert (path.read_bytes() if path.exists() else None) == other


def test_a_disk_that_fills_up_in_the_middle_loses_nothing_and_the_same_call_goes_on(
    make_photos, tmp_path, monkeypatch, forwarded
):
    settings = config(make_photos({"cat": 10, "dog": 10}))
    undisturbed = extract(tmp_path / "undisturbed.h5", settings)
    path = begin(tmp_path / "pets.h5", settings)
    column = FeatureCache(path).columns["features"]
    pwrite = os.pwrite

    def full(descriptor, data, offset):
        if column.offset + 12 * column.row_bytes <= offset < column.end:
            raise OSError(errno.ENOSPC, "No space left on device")
        return pwrite(descriptor, data, offset)

    with monkeypatch.context() as disk:
        disk.setattr(os, "pwrite", full)
        with pytest.raises(CacheError, match=r"No space left on device.*the same command goes on") as error:
            fill_one(Extractor(settings), path)
    assert "\n" not in str(error.value)
    assert np.flatnonzero(FeatureCache(path).status == DONE).tolist() == list(range(12))
    forwarded.images = 0
    fill_one(Extractor(settings), path)
    assert forwarded.images == 8 + CANARIES
    assert np.array_equal(FeatureCache(path).read(), undisturbed.read())


def test_features_too_large_for_float16_stop_the_pass_and_name_the_way_on(make_photos, tmp_path, monkeypatch):
    settings = config(make_photos({"cat": 6, "dog": 6}))
    path = begin(tmp_path / "pets.h5", settings)
    monkeypatch.setattr(extraction, "fast_form", lambda *_: lambda pixels: torch.full((len(pixels), 2048), 1e5))
    with pytest.raises(CacheError, match="--storage float32"):
        fill_one(Extractor(settings), path)
    assert (FeatureCache(path).status == PENDING).all()


def test_finished_rows_are_on_the_disk_while_the_pass_goes_on(make_photos, tmp_path, monkeypatch):
    """What a kill can cost is bounded: rows become done every few seconds, not at the end."""
    monkeypatch.setattr(one_pass, "COMMIT_SECONDS", 0.0)
    settings = config(make_photos({"cat": 12, "dog": 12}))
    path = begin(tmp_path / "pets.h5", settings)
    seen = []
    bar = filling.bar

    def watched(*arguments, **options):
        progress = bar(*arguments)
        update = progress.update
        progress.update = lambda number: (seen.append(int((FeatureCache(path).status == DONE).sum())), update(number))
        return progress

    monkeypatch.setattr(filling, "bar", watched)
    fill_one(Extractor(settings), path)
    assert sorted(seen) == seen
    assert seen[-1] >= 8


@pytest.mark.slow
def test_memory_hardly_grows_with_the_number_of_images(make_photos, tmp_path, monkeypatch):
    """Neither pixels (3 KiB each here) nor features (8 KiB) may pile up; a row costs its digest and little more."""

    def features(pixels):
        return torch.from_numpy(np.ones((len(pixels), 2048), np.float32))  # where tracemalloc sees it

    monkeypatch.setattr(extraction, "fast_form", lambda *_: features)
    peaks = []
    for count in (20, 20, 220):  # the first pays for what is imported late
        settings = config(make_photos({"cat": count, "dog": count}, f"photos {len(peaks)}"))
        path = begin(tmp_path / f"{len(peaks)}.h5", settings)
        extractor = Extractor(settings)
        tracemalloc.start()
        fill_one(extractor, path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] - peaks[1] < 400 * 1024, peaks


def test_the_report_says_what_held_the_pass_back(make_photos, tmp_path):
    settings = config(make_photos({"cat": 6, "dog": 6}))
    report = fill_one(Extractor(settings), begin(tmp_path / "pets.h5", settings))
    assert report.wall_seconds > 0
    assert report.decode_seconds > 0
    assert report.forward_seconds > 0
    assert report.write_seconds > 0
    assert report.bottleneck().startswith("Time of each step (they overlap): reading ")
    assert FeatureCache(tmp_path / "pets.h5").seconds == pytest.approx(report.wall_seconds, rel=0.5)


def test_nothing_in_memory_keeps_a_second_picture_from_the_first_ones_place(tmp_path):
    """Pictures of many shapes and modes side by side: each row is its own picture's."""
    data = tmp_path / "photos"
    for name, modes in (("grey", ("L", "1")), ("colour", ("RGB", "RGBA", "P", "CMYK"))):
        (data / name).mkdir(parents=True)
        for number, mode in enumerate(modes * 2):
            suffix = "tif" if mode == "CMYK" else "png"
            picture(number, (30 + 9 * number, 80 - 7 * number)).convert(mode).save(data / name / f"{number}.{suffix}")
    cache = extract(tmp_path / "modes.h5", config(data, storage="float32", batch_size=5))
    for row in range(len(cache)):
        pixels = decoded(cache.manifest.place(row).read_bytes(), cache.recipe.geometry)
        alone = torchvisions(IMAGENET(torch.from_numpy(pixels[None].copy()))).numpy()[0]
        assert np.abs(cache.read()[row] - alone).max() <= 1e-5 * alone.max(), row
