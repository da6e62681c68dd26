"""A pass on a GPU waits for nothing but its answers, and its rows are those of a pass on the CPU."""

import numpy as np
import pytest
from helpers import pretend_cuda
from helpers.extraction import begin, config
from helpers.pictures import picture
from tqdm import tqdm

from headstart.cache.layout import DONE
from headstart.extraction import extractor as extraction
from headstart.extraction import updating
from headstart.extraction.extractor import Extractor
from headstart.extraction.one_pass import Pass, PassReport
from headstart.images import feeding, jpeg, rooms

pytestmark = [
    pytest.mark.filterwarnings("ignore:No image in:headstart.errors.DataWarning"),
    pytest.mark.usefixtures("one_net"),
]


@pytest.fixture(autouse=True)
def gpu_that_resizes(monkeypatch):
    with pretend_cuda.resizing(monkeypatch):
        yield


@pytest.fixture(autouse=True)
def features_are_pixels(monkeypatch):
    """Then rows show each pixel, and no net takes time."""
    monkeypatch.setattr(extraction, "fast_form", lambda *_: lambda pixels: pixels.flatten(1)[:, -2048:].float())


def test_no_step_of_a_pass_makes_the_host_wait(make_photos, tmp_path):
    """But for the answer, which is read when the next batch is on its way."""
    settings = config(make_photos({"cat": 9, "dog": 9}), device="cuda")
    with pretend_cuda.cuda() as counts, tqdm(disable=True) as progress:
        made = Extractor(settings)
        under_way = Pass([made.filling(begin(tmp_path / "pets.h5", settings))], 2, made.device)
        counts.clear()
        (report,) = under_way.run(progress)
        assert counts.host_waits == {"event": 5}
    assert report.forwarded == 18


@pytest.mark.parametrize("views", [0, 2])
def test_a_pass_on_a_gpu_gives_the_rows_of_the_cpu(make_photos, tmp_path, views):
    """Also where images cannot be read, are there twice, or have views."""
    data = make_photos({"cat": 9, "dog": 9})
    (data / "cat" / "003.png").write_bytes(b"no picture")
    (data / "dog" / "001.png").write_bytes((data / "cat" / "001.png").read_bytes())
    here, there = (
        config(data, cache=tmp_path / f"{device}.h5", storage="float32", views=views, view_splits="all", device=device)
        for device in ("cpu", "cuda")
    )
    expected = updating.bring_up_to_date(here)
    with pretend_cuda.cuda():
        found = updating.bring_up_to_date(there)
    counts = [(each.decoded, each.forwarded, each.copied, each.unreadable) for each in (expected.pass_, found.pass_)]
    assert counts == [(17, 16 * (views + 1), views + 1, 1)] * 2
    for one, other in zip(expected.cache.views, found.cache.views, strict=True):
        assert np.array_equal(one.status, other.status)
        done = one.status == DONE
        assert one.read()[done].any(axis=1).all()
        assert np.array_equal(one.read()[done], other.read()[done])


@pytest.mark.skipif(jpeg.decoder() is None, reason="simplejpeg, of the extra jpeg, is not installed")
def test_a_gpu_resizes_whole_pictures_and_the_cpu_those_that_have_no_room(make_photos, tmp_path, monkeypatch):
    """JPEG files go there as they are decoded; where pinned memory ends, and for other files, Pillow makes squares."""
    data = make_photos({"cat": 6, "dog": 6})
    for number, path in enumerate(sorted(data.rglob("*.png"))[::2]):
        picture(50 + number, (90 + 7 * number, 130 - 9 * number)).save(path.with_suffix(".jpg"), quality=90)
        path.unlink()
    here, there = (config(data, cache=tmp_path / f"{device}.h5", device=device) for device in ("cpu", "cuda"))
    expected = updating.bring_up_to_date(here).cache.read()
    spots, put = [], rooms.Room.fill
    monkeypatch.setattr(rooms.Room, "fill", lambda *given: spots.append(put(*given)) or spots[-1])
    monkeypatch.setattr(feeding, "PICTURE_BYTES", 12_000)  # one whole picture in a room
    with pretend_cuda.cuda():
        found = updating.bring_up_to_date(there).cache.read()
    assert np.array_equal(found, expected)
    whole = [spot.size != (32, 32) for (spot,) in spots]
    assert 0 < sum(whole) < 6


def test_the_time_of_a_gpu_is_its_own(make_photos, tmp_path):
    """The stand-in's events say 1 ms for each batch, however long the host took to launch it."""
    settings = config(make_photos({"cat": 9, "dog": 9}), cache=tmp_path / "pets.h5", device="cuda")
    with pretend_cuda.cuda():
        report = updating.bring_up_to_date(settings).pass_
    assert report.forward_seconds == pytest.approx(0.005)


@pytest.mark.parametrize(
    ("seconds", "sentence"),
    [
        ({"forward_seconds": 9.0, "decode_seconds": 4.0}, "the backbone sets the speed"),
        ({"forward_seconds": 3.0, "decode_seconds": 16.0}, "decoding sets the speed: more cores would help"),
        ({"forward_seconds": 3.0, "read_seconds": 16.0, "decode_seconds": 2.0}, "reading sets the speed"),
    ],
)
def test_the_slowest_step_is_named(seconds, sentence):
    assert sentence in PassReport(wall_seconds=10.0, workers=2, **seconds).bottleneck()


def test_a_gpu_gets_large_batches_unless_the_user_says_how_large(make_photos, tmp_path):
    data = make_photos({"cat": 3, "dog": 3})
    sizes = {}
    for device, asked in (("cpu", None), ("cuda", None), ("cuda", 7)):
        settings = config(data, device=device, batch_size=asked)
        with pretend_cuda.cuda():
            made = Extractor(settings)
            sizes[device, asked] = made.filling(begin(tmp_path / f"{device} {asked}.h5", settings)).batch_size
    assert sizes == {("cpu", None): 32, ("cuda", None): 256, ("cuda", 7): 7}


def test_a_cache_goes_on_with_batches_of_another_size(make_photos, tmp_path):
    data = make_photos({"cat": 3, "dog": 3})
    settings = config(data, cache=tmp_path / "pets.h5", batch_size=None)
    updating.bring_up_to_date(settings)
    make_photos({"cat": 5, "dog": 5})
    report = updating.bring_up_to_date(config(data, cache=tmp_path / "pets.h5", batch_size=3))
    assert (report.pass_.forwarded, report.taken_over) == (4, 6)
