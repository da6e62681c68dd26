"""A cache that is never stale: whatever changes in the data is noticed, and only new bytes go through the net."""

import errno
import io
import os
import shutil
import subprocess
import sys
import tarfile
import textwrap
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from helpers.extraction import config, eye, flip, stop_after, watching
from helpers.pictures import picture

from headstart.cache import recipe
from headstart.cache.feature_cache import FeatureCache
from headstart.cache.layout import COLUMNS, DONE, DRAWN, DRAWN_CHECKSUM
from headstart.cache.locking import lock
from headstart.cache.writing import CacheWriter
from headstart.datasets import labelled, naming
from headstart.errors import CacheDamaged, CacheError, CacheLocked, DataError, DataWarning, RecipeMismatch, WeightsError
from headstart.extraction import extractor, growing, precision, reports, updating
from headstart.extraction.extractor import CANARIES
from headstart.heads.provenance import cache_identity
from headstart.images import decoding, digests, loading
from headstart.images.decoding import UnreadableImage
from headstart.settings import ExtractConfig

pytestmark = pytest.mark.filterwarnings("ignore::headstart.errors.DataWarning")


def begin_growth(photos, settings, monkeypatch, images, batches):
    """A cache that began to grow by so many images, and was stopped after so many batches."""
    updating.bring_up_to_date(settings)
    for number in range(images):
        picture(5000 + number).save(photos / "train/cat" / f"new {number:02}.png")
    with monkeypatch.context() as interrupted:
        stop_after(interrupted, batches)
        with pytest.raises(KeyboardInterrupt):
            updating.bring_up_to_date(settings)


@pytest.fixture(scope="module", autouse=True)
def watch(one_net):
    with watching(eye) as watch:
        yield watch


@pytest.fixture
def photos(make_photos) -> Path:
    """24 pictures in two splits and two classes."""
    return make_photos({"train/cat": 9, "train/dog": 9, "test/cat": 3, "test/dog": 3})


@pytest.fixture
def settings(photos, tmp_path) -> ExtractConfig:
    return config(photos, cache=tmp_path / "pets.h5")


def contents(path: Path) -> dict[str, np.ndarray]:
    """Every dataset of ours in a cache, but the time it took; features of rows that are not done hold nothing."""
    with h5py.File(path) as file:
        columns = {name: values[...] for name, values in file.items() if name in COLUMNS and name != "seconds"}
    columns["features"][columns["status"] != DONE] = 0
    return columns


def assert_same(path: Path, other: Path) -> None:
    one, two = contents(path), contents(other)
    assert one.keys() == two.keys()
    for name in one.keys() - {DRAWN, DRAWN_CHECKSUM}:  # which depend on what was there before, see test_drawing
        assert np.array_equal(one[name], two[name]), name


def assert_as_fresh(settings: ExtractConfig) -> None:
    """The cache equals what a first extraction of the data makes, in every dataset, to the bit."""
    fresh = settings.cache.with_name("fresh.h5")
    fresh.unlink(missing_ok=True)
    updating.bring_up_to_date(replace(settings, cache=fresh, check_bytes=False, prune=False, overwrite=False))
    assert_same(settings.cache, fresh)


def test_a_second_run_does_nothing_and_touches_nothing(settings):
    first = updating.bring_up_to_date(settings)
    assert first.pass_.forwarded == 24
    before, bytes_before = settings.cache.stat(), settings.cache.read_bytes()
    second = updating.bring_up_to_date(settings)
    after = settings.cache.stat()
    assert second.pass_ is None
    assert second.taken_over == 24
    assert "nothing to do" in reports.summary([second])
    assert (after.st_ino, after.st_mtime_ns, after.st_size) == (before.st_ino, before.st_mtime_ns, before.st_size)
    assert settings.cache.read_bytes() == bytes_before
    assert {file.name for file in settings.cache.parent.iterdir()} == {"pets.h5", "photos"}


def test_whether_a_cache_is_up_to_date_is_decided_without_torch(settings):
    updating.bring_up_to_date(settings)
    script = textwrap.dedent("""
        import sys, warnings
        from pathlib import Path
        from headstart.extraction import updating
        from headstart.errors import DataWarning
        from headstart.settings import ExtractConfig

        warnings.simplefilter("ignore", DataWarning)
        report = updating.bring_up_to_date(
            ExtractConfig(data=sys.argv[1], cache=Path(sys.argv[2]), weights="random", image_px=32)
        )
        print(report.pass_, "torch" in sys.modules)
    """)
    command = [sys.executable, "-W", "error", "-c", script, settings.data, str(settings.cache)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("None False\n", "")


def test_whether_a_cache_is_up_to_date_is_decided_without_opening_an_image(settings, monkeypatch):
    updating.bring_up_to_date(settings)

    def opened(file):
        raise AssertionError(f"{file} was read")

    monkeypatch.setattr(digests, "read", opened)
    monkeypatch.setattr("headstart.images.loading.read", opened)
    assert updating.bring_up_to_date(settings).pass_ is None


@pytest.mark.slow
def test_a_hundred_images_added_to_two_thousand_are_exactly_a_hundred_forward_passes(make_photos, tmp_path, forwarded):
    data = make_photos({"cat": 1000, "dog": 1000})
    settings = config(data, cache=tmp_path / "pets.h5")
    updating.bring_up_to_date(settings)
    for number in range(100):
        picture(5000 + number).save(data / ("cat", "dog")[number % 2] / f"a new one {number}.png")
    forwarded.images = 0
    report = updating.bring_up_to_date(settings)
    assert (report.pass_.forwarded, report.taken_over) == (100, 2000)
    assert forwarded.images == 100 + CANARIES
    assert_as_fresh(settings)


def _rename(photos: Path) -> None:
    (photos / "train/cat/004.png").rename(photos / "train/cat/another name.png")


def _rename_a_class(photos: Path) -> None:
    for split in ("train", "test"):
        (photos / split / "dog").rename(photos / split / "hound")


def _move_to_another_split(photos: Path) -> None:
    (photos / "train/dog/002.png").rename(photos / "test/dog/from train.png")


def _relabel(photos: Path) -> None:
    (photos / "train/cat/001.png").rename(photos / "train/dog/no cat.png")


def _touch(photos: Path) -> None:
    os.utime(photos / "test/cat/001.png", (1, 1))


def _copy(photos: Path) -> None:
    shutil.copy(photos / "train/cat/003.png", photos / "train/cat/copy.png")


def _swap(photos: Path) -> None:
    one, two = photos / "train/cat/003.png", photos / "train/dog/003.png"
    one.rename(photos / "kept")
    two.rename(one)
    (photos / "kept").rename(two)


@pytest.mark.parametrize(
    "change",
    [_rename, _rename_a_class, _move_to_another_split, _relabel, _touch, _copy, _swap],
    ids=lambda f: f.__name__,
)
def test_labels_splits_and_names_change_without_a_forward_pass(photos, settings, forwarded, change):
    updating.bring_up_to_date(settings)
    before = contents(settings.cache)
    change(photos)
    forwarded.images = 0
    report = updating.bring_up_to_date(settings)
    assert (report.pass_, forwarded.images) == (None, 0)
    assert any(not np.array_equal(before[name], values) for name, values in contents(settings.cache).items())
    assert_as_fresh(settings)


@pytest.mark.parametrize(
    ("column", "before", "after"), [("splits", "cat,train", "cat,test"), ("labels", "dog,train", "cat,train")]
)
def test_one_cell_of_a_csv_changes_one_cell_of_the_cache(photos, tmp_path, forwarded, column, before, after):
    """Nothing else changes then: no name, no size, no time."""
    files = sorted(file.relative_to(photos) for file in photos.rglob("*.png"))
    lines = [f"{file},{file.parts[1]},{file.parts[0]}" for file in files]
    listed = photos / "pets.csv"
    listed.write_text("\n".join(["path,label,split", *lines]))
    settings = config(listed, cache=tmp_path / "pets.h5")
    updating.bring_up_to_date(settings)
    old = contents(settings.cache)
    listed.write_text(listed.read_text().replace(before, after, 1))
    forwarded.images = 0
    assert updating.bring_up_to_date(settings).pass_ is None
    assert forwarded.images == 0
    new = contents(settings.cache)
    names = [name for name in old if name not in (DRAWN, DRAWN_CHECKSUM)]
    changed = {name: int((old[name] != new[name]).sum()) for name in names}
    assert {name: count for name, count in changed.items() if count} == {column: 1}
    assert_as_fresh(settings)


def test_a_removed_image_is_gone_from_the_cache_and_nothing_is_computed(make_photos, tmp_path, forwarded):
    data = make_photos({"cat": 70, "dog": 31})
    settings = config(data, cache=tmp_path / "pets.h5")
    updating.bring_up_to_date(settings)
    (data / "cat/007.png").unlink()  # less than one in a hundred: no question asked
    forwarded.images = 0
    assert updating.bring_up_to_date(settings).pass_ is None
    assert forwarded.images == 0
    assert len(FeatureCache(settings.cache)) == 100
    assert_as_fresh(settings)


def test_other_bytes_of_the_same_size_are_computed_anew(photos, settings, forwarded):
    for file in photos.rglob("*.png"):
        picture(abs(hash(str(file))) % 1000).save(file.with_suffix(".bmp"))  # all of one size
        file.unlink()
    updating.bring_up_to_date(settings)
    picture(9999).save(photos / "train/cat/004.bmp")
    assert len({file.stat().st_size for file in photos.rglob("*.bmp")}) == 1
    forwarded.images = 0
    report = updating.bring_up_to_date(settings)
    assert (report.pass_.forwarded, forwarded.images) == (1, 1 + CANARIES)
    assert_as_fresh(settings)


def overwritten_keeping_size_and_time(file, seed):
    status = file.stat()
    picture(seed).save(file)
    assert file.stat().st_size == status.st_size
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_other_bytes_of_the_same_size_and_time_are_noticed(photos, settings, forwarded, capsys):
    """As programs leave them that put the time back."""
    file = photos / "train/cat/004.bmp"
    picture(1).save(file)
    updating.bring_up_to_date(settings)
    overwritten_keeping_size_and_time(file, 2)
    forwarded.images = 0
    report = updating.bring_up_to_date(settings)
    assert "changed: 1 with another size or time, so read again" in capsys.readouterr().out
    assert (report.pass_.forwarded, forwarded.images) == (1, 1 + CANARIES)
    assert_as_fresh(settings)
    assert updating.bring_up_to_date(settings).pass_ is None


def test_other_bytes_in_files_that_were_copied_are_found_by_check_bytes(photos, settings, forwarded):
    """A copy of all has other numbers and times of the system, which then say nothing."""
    file = photos / "train/cat/004.bmp"
    picture(1).save(file)
    updating.bring_up_to_date(settings)
    copy = photos.rename(photos.with_name("before"))
    shutil.copytree(copy, photos)
    overwritten_keeping_size_and_time(file, 2)
    forwarded.images = 0
    assert updating.bring_up_to_date(settings).pass_ is None
    report = updating.bring_up_to_date(replace(settings, check_bytes=True))
    assert (report.pass_.forwarded, forwarded.images) == (1, 1 + CANARIES)
    assert_as_fresh(settings)
    forwarded.images = 0
    assert updating.bring_up_to_date(replace(settings, check_bytes=True)).pass_ is None
    assert forwarded.images == 0


def test_an_unreadable_image_is_computed_when_it_has_been_mended(photos, settings, forwarded):
    sound = (photos / "train/dog/005.png").read_bytes()
    (photos / "train/dog/005.png").write_bytes(sound[:200])
    report = updating.bring_up_to_date(settings)
    assert report.unreadable().first == [("train/dog/005.png", "truncated")]
    assert updating.bring_up_to_date(settings).pass_ is None  # as long as it is what it was
    (photos / "train/dog/005.png").write_bytes(sound)
    forwarded.images = 0
    report = updating.bring_up_to_date(settings)
    assert report.unreadable().first == []
    assert forwarded.images == 1 + CANARIES
    assert_as_fresh(settings)


def test_a_mixture_of_changes_ends_where_a_fresh_extraction_does(photos, settings):
    updating.bring_up_to_date(settings)
    for change in (_rename, _rename_a_class, _move_to_another_split, _touch, _copy):
        if change is _move_to_another_split:
            (photos / "train/hound/002.png").rename(photos / "test/hound/from train.png")
        else:
            change(photos)
    (photos / "train/cat/000.png").write_bytes(b"no picture any more")
    picture(777).save(photos / "train/fox.png")  # in no class folder
    (photos / "train/fox").mkdir()
    for number in range(5):
        picture(800 + number).save(photos / "train/fox" / f"{number}.png")
    report = updating.bring_up_to_date(settings)
    assert report.pass_.forwarded == 5
    assert report.pass_.unreadable == 1
    assert FeatureCache(settings.cache).manifest.classes == ("cat", "fox", "hound")
    assert_as_fresh(settings)


def test_ctrl_c_during_growth_leaves_the_old_cache_whole_and_the_same_command_goes_on(
    photos, settings, monkeypatch, forwarded
):
    updating.bring_up_to_date(settings)
    before = settings.cache.read_bytes()
    for number in range(14):
        picture(5000 + number).save(photos / "train/cat" / f"new {number:02}.png")
    with monkeypatch.context() as interrupted:
        stop_after(interrupted, 2)
        with pytest.raises(KeyboardInterrupt):
            updating.bring_up_to_date(settings)
    assert settings.cache.read_bytes() == before
    forwarded.images = 0
    report = updating.bring_up_to_date(settings)
    assert (report.pass_.forwarded, forwarded.images) == (6, 6 + CANARIES)
    assert_as_fresh(settings)
    assert {file.name for file in settings.cache.parent.iterdir()} == {"pets.h5", "fresh.h5", "photos"}


def test_growth_that_was_stopped_serves_the_next_even_if_the_data_changes_again(
    photos, settings, monkeypatch, forwarded
):
    begin_growth(photos, settings, monkeypatch, 8, 1)
    picture(6000).save(photos / "train/dog/late.png")
    forwarded.images = 0
    report = updating.bring_up_to_date(settings)
    assert (report.pass_.forwarded, forwarded.images) == (5, 5 + CANARIES)
    assert_as_fresh(settings)


def test_check_bytes_believes_no_growth_that_was_stopped(photos, settings, monkeypatch):
    """What it found out before it was stopped may have changed since."""
    file = photos / "train/cat/new.bmp"
    updating.bring_up_to_date(settings)
    for number in range(4):
        picture(5000 + number).save(photos / "train/dog" / f"new {number:02}.png")
    picture(1).save(file)
    status = file.stat()
    with monkeypatch.context() as interrupted:
        stop_after(interrupted, 1)
        with pytest.raises(KeyboardInterrupt):
            updating.bring_up_to_date(settings)
    picture(2).save(file)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    updating.bring_up_to_date(replace(settings, check_bytes=True))
    assert_as_fresh(settings)


def test_a_first_pass_that_was_stopped_goes_on_even_if_the_data_has_grown(photos, settings, monkeypatch, forwarded):
    with monkeypatch.context() as interrupted:
        stop_after(interrupted, 3)
        with pytest.raises(KeyboardInterrupt):
            updating.bring_up_to_date(settings)
    picture(6000).save(photos / "train/dog/late.png")
    forwarded.images = 0
    report = updating.bring_up_to_date(settings)
    assert (report.taken_over, report.pass_.forwarded) == (12, 13)
    assert forwarded.images == 13 + CANARIES
    assert_as_fresh(settings)


def test_remains_that_cannot_be_read_are_no_obstacle_to_growth(photos, settings):
    updating.bring_up_to_date(settings)
    settings.cache.with_name("pets.h5.growing").write_bytes(b"half a file")
    settings.cache.with_name("pets.h5.growing.new").write_bytes(b"less")
    picture(6000).save(photos / "train/dog/late.png")
    updating.bring_up_to_date(settings)
    assert_as_fresh(settings)


def test_a_grown_cache_takes_its_name_only_when_it_is_on_the_disk(photos, settings, monkeypatch):
    updating.bring_up_to_date(settings)
    picture(6000).save(photos / "train/dog/late.png")
    events = []
    fsync, rename = os.fsync, os.replace

    def record_sync(descriptor):
        events.append(("synced", os.fstat(descriptor).st_ino))
        fsync(descriptor)

    def record_rename(source, target):
        if Path(target) == settings.cache:
            events.append(("renamed", os.stat(source).st_ino))
        rename(source, target)

    monkeypatch.setattr(os, "fsync", record_sync)
    monkeypatch.setattr(os, "replace", record_rename)
    updating.bring_up_to_date(settings)
    place = events.index(("renamed", settings.cache.stat().st_ino))
    assert events[place - 1] == ("synced", settings.cache.stat().st_ino)
    assert events[place + 1] == ("synced", settings.cache.parent.stat().st_ino)


def test_a_disk_too_full_for_growth_is_refused_before_work_and_the_old_cache_stays(
    photos, settings, monkeypatch, forwarded
):
    updating.bring_up_to_date(settings)
    before = settings.cache.read_bytes()
    picture(6000).save(photos / "train/dog/late.png")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    forwarded.images = 0
    with monkeypatch.context() as disk:
        disk.setattr(os, "posix_fallocate", full)
        with pytest.raises(CacheError, match="No space left on device"):
            updating.bring_up_to_date(settings)
    assert forwarded.images == 0
    assert settings.cache.read_bytes() == before
    assert {file.name for file in settings.cache.parent.iterdir()} == {"pets.h5", "photos"}
    updating.bring_up_to_date(settings)
    assert_as_fresh(settings)


@pytest.mark.parametrize("suffix", [".lock", ".growing", ".growing.new"])
def test_a_folder_called_like_a_file_of_ours_is_named_and_nothing_is_lost(photos, settings, suffix):
    updating.bring_up_to_date(settings)
    before = settings.cache.read_bytes()
    picture(6000).save(photos / "train/dog/late.png")
    folder = settings.cache.with_name(settings.cache.name + suffix)
    folder.mkdir()
    with pytest.raises(CacheError, match=rf"cannot be written: Is a directory \(.*h5{suffix}"):
        updating.bring_up_to_date(settings)
    assert settings.cache.read_bytes() == before
    folder.rmdir()
    updating.bring_up_to_date(settings)
    assert_as_fresh(settings)


def test_a_folder_called_like_a_new_cache_is_named(settings):
    folder = settings.cache.with_name("pets.h5.new")
    folder.mkdir()
    with pytest.raises(CacheError, match=r"cannot be written: Is a directory \(.*pets\.h5\.new\)"):
        updating.bring_up_to_date(settings)
    folder.rmdir()
    updating.bring_up_to_date(settings)


def zeroed(digests):
    digests[2:6] = 0


def exchanged(digests):
    digests[[2, 3]] = digests[[3, 2]]


def a_wrong_bit(digests):
    digests[4, 7] ^= 1


@pytest.mark.parametrize("fault", [zeroed, exchanged, a_wrong_bit], ids=lambda fault: fault.__name__)
def test_growth_takes_over_no_row_whose_digest_was_changed(photos, settings, fault):
    """By a digest that is not the row's own, one image would get another's features."""
    updating.bring_up_to_date(settings)
    with h5py.File(settings.cache, "r+") as file:
        digests = file["digests"][...]
        fault(digests)
        file["digests"][...] = digests
    picture(6000).save(photos / "train/dog/late.png")
    updating.bring_up_to_date(settings)
    assert_as_fresh(settings)


def test_growth_reads_the_old_file_without_a_memory_map(photos, settings, monkeypatch):
    """A file that is cut while it is mapped kills the process, and no `except` can help."""
    updating.bring_up_to_date(settings)
    picture(6000).save(photos / "train/dog/late.png")

    def mapped(*_, **__):
        raise AssertionError("a memory map")

    with monkeypatch.context() as maps:
        maps.setattr(np, "memmap", mapped)
        updating.bring_up_to_date(settings)
    assert_as_fresh(settings)


def test_an_old_file_that_is_cut_while_it_is_taken_over_is_a_sentence(photos, settings, monkeypatch):
    updating.bring_up_to_date(settings)
    before = settings.cache.read_bytes()
    picture(6000).save(photos / "train/dog/late.png")
    copied = growing._copy

    def cut(*given):
        os.truncate(settings.cache, FeatureCache(settings.cache).columns["features"].offset + 100)
        copied(*given)

    with monkeypatch.context() as cutting:
        cutting.setattr(growing, "_copy", cut)
        with pytest.raises(CacheDamaged, match=r"pets\.h5 was cut"):
            updating.bring_up_to_date(settings)
    settings.cache.write_bytes(before)
    updating.bring_up_to_date(settings)
    assert_as_fresh(settings)


@pytest.mark.parametrize("seconds", [-(10**9), -(10**10), 10**10])
def test_pictures_and_archives_of_any_time_are_extracted_and_told_apart(photos, tmp_path, seconds):
    """Before 1970, and before 1678 and beyond 2262, which 64 bits of nanoseconds do not reach."""
    archive, first = tmp_path / "pets.tar", photos / "train/cat/000.png"
    with tarfile.open(archive, "w") as tar:
        for number, file in enumerate(sorted(photos.rglob("*.png"))[:6]):
            tar.add(file, f"{number}.png")
            label = tarfile.TarInfo(f"{number}.cls")
            label.size = 1
            tar.addfile(label, io.BytesIO(b"ab"[number % 2 : number % 2 + 1]))
    for file in (first, archive):
        os.utime(file, (seconds, seconds))
    if first.stat().st_mtime != seconds:
        pytest.skip("this file system has no such times")
    for data, touched in ((photos, first), (archive, archive)):
        made = config(data, cache=tmp_path / f"{data.name}.h5")
        updating.bring_up_to_date(made)
        assert (FeatureCache(made.cache).status == DONE).all()
        assert updating.bring_up_to_date(made).pass_ is None
        os.utime(touched, (seconds + 1, seconds + 1))
        before = made.cache.stat().st_ino
        updating.bring_up_to_date(made)
        assert made.cache.stat().st_ino != before, "what was touched is read again"


def test_images_that_have_moved_keep_their_features(photos, settings, forwarded, capsys):
    updating.bring_up_to_date(settings)
    elsewhere = photos.rename(photos.with_name("moved"))
    moved = replace(settings, data=str(elsewhere))
    forwarded.images = 0
    assert updating.bring_up_to_date(moved).pass_ is None
    assert forwarded.images == 0
    assert f"the images of {photos} are now those of {elsewhere}; their features are kept" in capsys.readouterr().out
    assert FeatureCache(settings.cache).manifest.root == elsewhere
    assert_as_fresh(moved)


def test_a_few_images_may_be_gone_from_those_that_have_moved(make_photos, tmp_path):
    data = make_photos({"cat": 20, "dog": 20})
    settings = config(data, cache=tmp_path / "pets.h5")
    updating.bring_up_to_date(settings)
    elsewhere = data.rename(tmp_path / "moved")
    for number in range(4):
        (elsewhere / f"cat/00{number}.png").unlink()
    moved = replace(settings, data=str(elsewhere))
    assert updating.bring_up_to_date(moved).pass_ is None
    assert_as_fresh(moved)


@pytest.mark.parametrize("name", ["link", "photos/../photos"])
def test_another_name_of_the_same_folder_is_no_change(photos, settings, tmp_path, name):
    updating.bring_up_to_date(settings)
    before = settings.cache.read_bytes()
    (tmp_path / "link").symlink_to(photos)
    assert updating.bring_up_to_date(replace(settings, data=str(tmp_path / name))).pass_ is None
    assert settings.cache.read_bytes() == before


def test_another_folder_is_refused_unless_it_is_meant(make_photos, photos, settings, forwarded):
    updating.bring_up_to_date(settings)
    before = settings.cache.read_bytes()
    elsewhere = make_photos({"train/fox": 9, "train/owl": 9, "test/fox": 3, "test/owl": 3}, folder="others")
    other = replace(settings, data=str(elsewhere))
    with pytest.raises(CacheError) as error:
        updating.bring_up_to_date(other)
    for words in (str(photos), str(elsewhere), "pets-new.h5"):
        assert words in str(error.value)
    assert "prune" not in str(error.value), "it would discard features that are worth keeping"
    assert settings.cache.read_bytes() == before
    updating.bring_up_to_date(replace(other, prune=True))
    assert_as_fresh(replace(other, prune=True))


def test_files_of_another_root_are_compared_by_their_bytes_whatever_size_and_time_say(make_photos, tmp_path):
    """Two data sets unpacked from archives may agree in every name, size and time."""
    roots = []
    for folder, seed in (("one", 1), ("two", 2)):
        for number in range(8):
            file = tmp_path / folder / ("cat", "dog")[number % 2] / f"{number}.bmp"
            file.parent.mkdir(parents=True, exist_ok=True)
            picture(100 * seed + number).save(file)
            os.utime(file, (1, 1))
        roots.append(tmp_path / folder)
    settings = config(roots[0], cache=tmp_path / "pets.h5")
    updating.bring_up_to_date(settings)
    other = replace(settings, data=str(roots[1]))
    before = settings.cache.read_bytes()
    with pytest.raises(CacheError, match="which has other images"):
        updating.bring_up_to_date(other)
    assert settings.cache.read_bytes() == before
    assert updating.bring_up_to_date(replace(other, prune=True)).pass_.forwarded == 8
    assert_as_fresh(other)


def test_a_pass_without_an_image_says_nothing_of_its_speed(photos, settings):
    updating.bring_up_to_date(settings)
    (photos / "train/cat/broken.png").write_bytes(b"no image")
    said = reports.summary([updating.bring_up_to_date(settings)])
    assert "0 images through the backbone" in said
    assert "sets the speed" not in said


@pytest.mark.parametrize("cats", [40, 80])
def test_up_to_a_tenth_of_the_images_may_vanish_without_a_question(make_photos, tmp_path, cats, capsys):
    data = make_photos({"cat": cats, "dog": 20})
    settings = config(data, cache=tmp_path / "pets.h5")
    updating.bring_up_to_date(settings)
    gone = (cats + 20) // 10
    for number in range(gone):
        (data / f"cat/{number:03}.png").unlink()
    assert updating.bring_up_to_date(settings).pass_ is None
    assert f"changed: {gone} removed" in capsys.readouterr().out
    assert_as_fresh(settings)


def test_a_folder_that_vanished_whole_is_a_question_however_small_it_is(make_photos, tmp_path):
    data = make_photos({"cat": 60, "dog": 60, "fox": 4})
    settings = config(data, cache=tmp_path / "pets.h5")
    updating.bring_up_to_date(settings)
    for file in (data / "fox").iterdir():
        file.unlink()
    with pytest.raises(CacheError, match="of which 4 are no longer in"):
        updating.bring_up_to_date(settings)
    assert updating.bring_up_to_date(replace(settings, prune=True)).pass_ is None


def test_rows_that_vanished_in_number_are_dropped_only_with_prune(photos, settings, forwarded):
    updating.bring_up_to_date(settings)
    before = settings.cache.read_bytes()
    for number in (3, 4, 5):
        (photos / f"train/dog/00{number}.png").unlink()
    with pytest.raises(CacheError) as error:
        updating.bring_up_to_date(settings)
    for words in ("24 finished images", "3 are no longer", "train/dog/003.png", "--prune", "CACHE="):
        assert words in str(error.value)
    assert settings.cache.read_bytes() == before
    forwarded.images = 0
    updating.bring_up_to_date(replace(settings, prune=True))
    assert forwarded.images == 0
    assert len(FeatureCache(settings.cache)) == 21
    assert_as_fresh(replace(settings, prune=True))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"weights": "IMAGENET1K_V2"}, "weights: the cache has random, this run asks for IMAGENET1K_V2"),
        ({"seed": 1}, "weights_digest: the cache has seed 0, this run asks for seed 1"),
        ({"image_px": 64}, "image_px: the cache has 32, this run asks for 64"),
        ({"resize": "squash"}, "resize: the cache has crop, this run asks for squash"),
        ({"storage": "float32"}, "storage: the cache has float16, this run asks for float32"),
        ({"precision": "bf16"}, "precision: the cache has fp32, this run asks for bf16"),
        ({"compile": "on"}, "compiled: the cache has no, this run asks for yes"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_each_field_of_the_recipe_is_noticed_and_named(settings, changed, words):
    updating.bring_up_to_date(settings)
    before = settings.cache.read_bytes()
    with pytest.raises(RecipeMismatch) as error:
        updating.bring_up_to_date(replace(settings, **changed))
    assert words in str(error.value)
    assert "--overwrite" not in str(error.value), "it would discard finished rows"
    assert "extract into another file: " in str(error.value)
    assert settings.cache.read_bytes() == before


def test_overwrite_starts_afresh(settings, forwarded):
    updating.bring_up_to_date(settings)
    other = replace(settings, storage="float32", overwrite=True)
    forwarded.images = 0
    report = updating.bring_up_to_date(other)
    assert (report.pass_.forwarded, report.taken_over, forwarded.images) == (24, 0, 24)
    assert FeatureCache(settings.cache).recipe.storage == "float32"
    assert_as_fresh(other)


def test_overwrite_that_cannot_begin_leaves_the_old_cache(settings, monkeypatch):
    updating.bring_up_to_date(settings)
    before = settings.cache.read_bytes()

    def fail(*_):
        raise WeightsError("no network")

    monkeypatch.setattr(extractor, "load_frozen", fail)
    with pytest.raises(WeightsError):
        updating.bring_up_to_date(replace(settings, overwrite=True))
    assert settings.cache.read_bytes() == before


def test_overwrite_mends_a_cache_that_cannot_be_read(settings):
    settings.cache.write_bytes(b"damaged")
    with pytest.raises(CacheDamaged):
        updating.bring_up_to_date(settings)
    updating.bring_up_to_date(replace(settings, overwrite=True))
    assert_as_fresh(settings)


def test_what_auto_found_is_kept_and_adopted(settings, monkeypatch):
    monkeypatch.setattr(precision, "FEWEST_IMAGES", 0)
    auto = replace(settings, precision="auto", compile="auto")
    updating.bring_up_to_date(auto)
    made = FeatureCache(settings.cache)
    assert (made.recipe.precision, made.recipe.compiled) == ("fp32", False)
    assert made.notes["fp32_images_per_second"] > 0
    assert updating.bring_up_to_date(auto).pass_ is None
    assert updating.bring_up_to_date(settings).pass_ is None
    with pytest.raises(RecipeMismatch, match="precision"):
        updating.bring_up_to_date(replace(auto, precision="bf16"))


def test_a_machine_that_computes_other_features_is_not_let_into_growth(photos, settings):
    updating.bring_up_to_date(settings)
    cache = FeatureCache(settings.cache)
    with CacheWriter(FeatureCache(settings.cache)) as writer:
        rows = np.arange(len(cache))
        writer.write(rows, cache.read() * np.float16(1.01), cache.digests)
        writer.commit(0.0)
    before = settings.cache.read_bytes()
    picture(6000).save(photos / "train/dog/late.png")
    with pytest.raises(CacheError, match=f"{CANARIES} finished rows, computed again, differ by"):
        updating.bring_up_to_date(settings)
    assert settings.cache.read_bytes() == before


def test_a_damaged_row_is_not_taken_over_but_computed_again(photos, settings, forwarded):
    updating.bring_up_to_date(settings)
    flip(settings.cache, 5)
    picture(6000).save(photos / "train/dog/late.png")
    forwarded.images = 0
    report = updating.bring_up_to_date(settings)
    assert (report.pass_.forwarded, forwarded.images) == (2, 2 + CANARIES)
    FeatureCache(settings.cache).read()
    assert_as_fresh(settings)


def test_check_bytes_computes_damaged_rows_of_a_finished_cache_again(settings, forwarded):
    """As the message about a damaged row says."""
    updating.bring_up_to_date(settings)
    flip(settings.cache, 5)
    flip(settings.cache, 20)
    with pytest.raises(CacheDamaged, match="--check-bytes"):
        FeatureCache(settings.cache).read()
    forwarded.images = 0
    assert updating.bring_up_to_date(replace(settings, check_bytes=True)).pass_.forwarded == 2
    assert forwarded.images == 2 + CANARIES
    assert_as_fresh(settings)


def test_a_second_run_at_the_same_time_is_turned_away_at_once(settings):
    with lock(settings.cache), pytest.raises(CacheLocked, match=f"process {os.getpid()} on "):
        updating.bring_up_to_date(settings)
    assert not settings.cache.exists()
    updating.bring_up_to_date(settings)


def test_the_summary_says_what_was_done(photos, settings):
    updating.bring_up_to_date(settings)
    shutil.copy(photos / "train/cat/003.png", photos / "train/cat/copy.png")
    for number in range(3):
        picture(6000).save(photos / "train/dog" / f"new {number}.png")
    summary = reports.summary([updating.bring_up_to_date(settings)])
    assert "28 of 28 images, 2 classes" in summary
    assert "1 image through the backbone" in summary
    assert "24 images were there already, 3 got the features of an identical image" in summary
    assert "untrained" in summary  # random weights are never silent


def test_a_cache_that_the_next_program_describes_is_not_described_twice(photos, settings):
    report = updating.bring_up_to_date(settings)
    said, all_said = reports.summary([report], described=False), reports.summary([report])
    assert "images through the backbone" in said
    assert (str(settings.cache) in said, str(settings.cache) in all_said) == (False, True)
    assert all_said.endswith(said)


def test_digests_of_a_data_set_tell_apart_what_heads_depend_on(photos, settings):
    """A run remembers the manifest's digest; it must follow labels and splits, which change without a pass."""
    updating.bring_up_to_date(settings)
    before = cache_identity(FeatureCache(settings.cache))
    _relabel(photos)
    updating.bring_up_to_date(settings)
    after = cache_identity(FeatureCache(settings.cache))
    assert after["recipe_digest"] == before["recipe_digest"]
    assert after["manifest_digest"] != before["manifest_digest"]
    listed = labelled.load(settings.data, settings.completed().seed)
    drawn = replace(listed, splits=FeatureCache(settings.cache).manifest.splits)
    assert after["manifest_digest"] == drawn.digest() != listed.digest()
    assert recipe.from_config(settings).adopting(FeatureCache(settings.cache).recipe).digest() == after["recipe_digest"]


def test_a_permission_that_was_given_is_noticed_though_the_file_is_the_same(photos, settings, monkeypatch, forwarded):
    allowed = loading.read

    def forbidden(file):
        if file.name == "000.png":
            raise UnreadableImage("no permission")
        return allowed(file)

    with monkeypatch.context() as patch:
        patch.setattr("headstart.images.loading.read", forbidden)
        assert [reason for _, reason in updating.bring_up_to_date(settings).unreadable().first] == ["no permission"] * 4
    report = updating.bring_up_to_date(settings)
    assert report.unreadable().first == []
    assert report.pass_.forwarded == 4
    assert_as_fresh(settings)


def test_a_file_that_is_still_forbidden_is_not_tried_again_and_again(photos, settings, monkeypatch):
    def forbidden(file):
        raise UnreadableImage("no permission")

    first = sorted(photos.rglob("*.png"))[0]
    allowed = loading.read
    monkeypatch.setattr(
        "headstart.images.loading.read", lambda file: forbidden(file) if file == first else allowed(file)
    )
    updating.bring_up_to_date(settings)
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert updating.bring_up_to_date(settings).pass_ is None


def test_heic_files_are_tried_again_once_the_extra_is_installed(photos, settings, monkeypatch, forwarded):
    allowed = loading.read

    def needs_heic(file):
        if file.name == "000.png":
            raise UnreadableImage(decoding.NEEDS_HEIC)
        return allowed(file)

    monkeypatch.setattr(decoding, "reads_heic", lambda: False)
    monkeypatch.setattr("headstart.images.loading.read", needs_heic)
    assert len(updating.bring_up_to_date(settings).unreadable()) == 4
    assert updating.bring_up_to_date(settings).pass_ is None
    monkeypatch.setattr(decoding, "reads_heic", lambda: True)
    monkeypatch.setattr("headstart.images.loading.read", allowed)
    assert updating.bring_up_to_date(settings).pass_.forwarded == 4
    assert_as_fresh(settings)


def test_a_finished_cache_in_a_folder_that_may_not_be_written_is_reported(settings, monkeypatch):
    updating.bring_up_to_date(settings)

    def refuse(path):
        raise AssertionError("nothing is to be locked")

    monkeypatch.setattr(updating, "lock", refuse)
    assert updating.bring_up_to_date(settings).pass_ is None


def test_remains_of_a_growth_that_is_not_needed_any_more_are_removed(settings):
    updating.bring_up_to_date(settings)
    remains = settings.cache.with_name(settings.cache.name + ".growing")
    shutil.copy(settings.cache, remains)
    assert updating.bring_up_to_date(settings).pass_ is None
    assert not remains.exists()


def add(path: Path, **datasets: np.ndarray) -> None:
    """As another program keeps its results in a cache."""
    with h5py.File(path, "a") as file:
        for name, values in datasets.items():
            file.create_dataset(name, data=values, compression="gzip")


def test_what_other_programs_keep_in_a_cache_survives_growth(photos, settings):
    updating.bring_up_to_date(settings)
    add(settings.cache, umap=np.arange(48).reshape(24, 2), centres=np.ones((7, 2)))
    picture(6000).save(photos / "train/cat/new.png")
    with pytest.warns(DataWarning, match=r"kept `umap` \(24 rows\), but the cache now has 25 rows in another order"):
        updating.bring_up_to_date(settings)
    with h5py.File(settings.cache) as file:
        assert file["umap"][...].tolist() == np.arange(48).reshape(24, 2).tolist()
        assert file["centres"].shape == (7, 2)
    assert_as_fresh(settings)


@pytest.mark.filterwarnings("error::headstart.errors.DataWarning")
def test_rows_of_other_programs_still_fit_where_only_views_are_added(settings):
    updating.bring_up_to_date(settings)
    add(settings.cache, umap=np.zeros((24, 2)))
    updating.bring_up_to_date(replace(settings, views=1))
    with h5py.File(settings.cache) as file:
        assert "umap" in file


def test_what_is_added_while_a_growth_is_stopped_survives_too(photos, settings, monkeypatch, forwarded):
    begin_growth(photos, settings, monkeypatch, 14, 2)
    add(settings.cache, umap=np.zeros((24, 2)))
    forwarded.images = 0
    assert updating.bring_up_to_date(settings).pass_.forwarded == 6
    with h5py.File(settings.cache) as file:
        assert "umap" in file
    assert_as_fresh(settings)


def test_overwrite_says_what_it_discards(settings, capsys):
    updating.bring_up_to_date(settings)
    add(settings.cache, umap=np.zeros((24, 2)))
    updating.bring_up_to_date(replace(settings, overwrite=True))
    assert "--overwrite has discarded what other programs kept in it: `umap`." in capsys.readouterr().out
    assert_as_fresh(settings)


@pytest.mark.parametrize("layout", [{"chunks": True}, {"compression": "gzip"}, {}], ids=str)
def test_a_pass_goes_on_in_a_file_that_another_program_has_stored_in_another_layout(
    settings, monkeypatch, forwarded, layout
):
    with monkeypatch.context() as interrupted:
        stop_after(interrupted, 3)
        with pytest.raises(KeyboardInterrupt):
            updating.bring_up_to_date(settings)
    plain = settings.cache.rename(settings.cache.with_name("plain.h5"))
    with h5py.File(plain) as old, h5py.File(settings.cache, "w") as new:
        new.attrs.update(old.attrs)
        for name, values in old.items():
            new.create_dataset(name, data=values[...], **layout)
    forwarded.images = 0
    report = updating.bring_up_to_date(settings)
    assert (report.taken_over, report.pass_.forwarded, forwarded.images) == (12, 12, 12 + CANARIES)
    assert FeatureCache(settings.cache).is_writable
    assert_as_fresh(settings)


def test_what_was_said_of_a_list_is_kept_and_need_not_be_said_again(make_photos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    photos = make_photos({"cat": 20, "dog": 20})
    lines = "".join(f"{path.name},{path.parent.name.upper()}\n" for path in sorted((photos / "cat").glob("*.png")))
    lines += "".join(f"../dog/{path.name},{path.parent.name}\n" for path in sorted((photos / "dog").glob("*.png")))
    (tmp_path / "list.csv").write_text(f"image,kind of animal\n{lines}")
    said = config("list.csv", columns="label=kind of animal", root=photos / "cat")
    before = updating.bring_up_to_date(said).cache
    again = updating.bring_up_to_date(replace(said, columns=None, root=None))
    assert again.pass_ is None
    assert again.cache.manifest.classes == before.manifest.classes == ("CAT", "dog")
    assert f"--columns label=kind of animal --root {photos / 'cat'}" in capsys.readouterr().out
    assert naming.kept_for("list.csv")[0] == {"columns": "label=kind of animal", "root": str(photos / "cat")}


def test_copies_of_images_do_not_count_as_images_that_were_there(photos, settings, monkeypatch):
    """Neither in the first pass, nor where all that is new are copies, nor where a growth was stopped."""
    for number in range(5):
        shutil.copy(photos / "train/cat/000.png", photos / f"train/dog/first {number}.png")
    first = reports.summary([updating.bring_up_to_date(settings)])
    assert "0 images were there already, 5 got the features of an identical image" in first
    shutil.copy(photos / "train/cat/001.png", photos / "train/dog/second.png")
    (photos / "train/cat/002.png").rename(photos / "train/cat/renamed.png")
    second = reports.summary([updating.bring_up_to_date(settings)])
    assert second.endswith("29 images were there already, 1 got the features of an identical image")
    begin_growth(photos, settings, monkeypatch, images=12, batches=2)
    third = updating.bring_up_to_date(settings)
    assert (third.taken_over + third.pass_.forwarded, third.copied) == (30 + 12, 0)


def test_what_is_up_to_date_is_said_in_one_line(settings):
    """`make train-head` describes the cache below it."""
    updating.bring_up_to_date(settings)
    said = reports.summary([updating.bring_up_to_date(settings)])
    assert said == f"{settings.cache} is up to date: nothing to do."


@pytest.mark.parametrize("name", ["shard.tar", "list.csv", "photo.jpg"])
def test_overwrite_spares_a_file_that_is_no_cache(name, settings, tmp_path):
    path = tmp_path / name
    path.write_bytes(b"path,label")
    for overwrite in (False, True):
        with pytest.raises(CacheError, match="is no feature cache, nor any other HDF5 file"):
            updating.bring_up_to_date(replace(settings, cache=path, overwrite=overwrite))
    assert path.read_bytes() == b"path,label"


def test_a_setting_that_the_cache_keeps_and_that_fits_no_more_is_named(make_photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_photos({"cat": 12, "dog": 12})
    lines = "".join(f"photos/{name}/{number:03}.png,{name}\n" for name in ("cat", "dog") for number in range(12))
    (tmp_path / "list.csv").write_text(f"path,Klasse\n{lines}")
    said = config("list.csv", columns="label=Klasse")
    updating.bring_up_to_date(said)
    (tmp_path / "list.csv").write_text(f"path,Gattung\n{lines}")
    left_out = replace(said, columns=None)
    sentence = "has no column 'Klasse'.* data/features/list.h5 keeps columns label=Klasse from an earlier command"
    for load in (updating.bring_up_to_date, naming.load_as_before):
        with pytest.raises(DataError, match=sentence):
            load(left_out.completed())
    with pytest.raises(DataError) as error:
        updating.bring_up_to_date(said)
    assert "keeps" not in str(error.value), "it was given"
    assert updating.bring_up_to_date(replace(said, columns="label=Gattung")).pass_ is None
