"""Data on servers: the same as on the disk, over HTTP and from S3; whatever a server does is said in a sentence."""

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
from helpers.extraction import config
from helpers.pictures import archive, encoded, picture, sample
from helpers.rows import parquet
from helpers.servers import FileServer, serving

from headstart import extract
from headstart.cache.feature_cache import FeatureCache
from headstart.cache.layout import DONE
from headstart.datasets import archives, labelled, unlabelled
from headstart.datasets import parquet as rows
from headstart.errors import DataError
from headstart.extraction import updating
from headstart.extraction.extractor import CANARIES
from headstart.images import loading
from headstart.images.geometry import Geometry
from headstart.support import remote
from headstart.support.remote import RemoteError, RemotePath, as_path

pytestmark = [
    pytest.mark.filterwarnings("ignore::headstart.errors.DataWarning"),
    pytest.mark.usefixtures("one_net"),
]


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def files(tmp_path):
    """Two tar archives, two parquet files, and a list beside its images: 16 images each."""
    folder = tmp_path / "server"
    for part in range(2):
        numbers = range(8 * part, 8 * part + 8)
        archive(folder / f"shards/train-00{part}.tar", [m for n in numbers for m in sample(n, ("cat", "dog")[n % 2])])
        parquet(folder / f"pets/data/train-0000{part}-of-00002.parquet", numbers)
    (folder / "photos").mkdir()
    for number in range(16):
        picture(number).save(folder / f"photos/{number:02}.png")
    lines = [f"{number:02}.png,{('cat', 'dog')[number % 2]}" for number in range(16)]
    (folder / "photos/list.csv").write_text("\n".join(["path,label", *lines]))
    return folder


@pytest.fixture
def server(files) -> Iterator[FileServer]:
    with serving(files) as server:
        yield server


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """The URL of an S3 server's bucket."""
    boto3, moto = importlib.import_module("boto3"), importlib.import_module("moto.server")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    names = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_DEFAULT_REGION": "us-east-1"}
    with pytest.MonkeyPatch.context() as patch:
        host, port = server.get_host_and_port()
        for name, value in {**names, "AWS_ENDPOINT_URL": f"http://{host}:{port}"}.items():
            patch.setenv(name, value)
        remote._file_system.cache_clear()
        boto3.client("s3").create_bucket(Bucket="images")
        yield "s3://images"
    server.stop()


def upload(folder: Path) -> None:
    client = importlib.import_module("boto3").client("s3")
    for path in filter(Path.is_file, folder.rglob("*")):
        client.upload_file(str(path), "images", path.relative_to(folder).as_posix())


def contents(data: str) -> list[tuple[bytes, str]]:
    manifest = labelled.load(data)
    places = manifest.places(range(len(manifest)))
    return sorted((loading.read(place), manifest.classes[manifest.labels[row]]) for row, place in places)


EXPECTED = sorted((encoded(number), ("cat", "dog")[number % 2]) for number in range(16))
SOURCES = ("shards/train-{000..001}.tar", "pets/data/train-0000{0..1}-of-00002.parquet", "photos/list.csv")


def test_archives_rows_and_lists_over_http_hold_what_they_hold_on_the_disk(server):
    for source in SOURCES:
        assert contents(f"{server.url}/{source}") == EXPECTED, source


def test_so_do_those_of_a_bucket_also_by_patterns_and_by_folder(bucket, files):
    upload(files)
    for source in (*SOURCES, "shards/*.tar", "pets", "pets/data/"):
        assert contents(f"{bucket}/{source}") == EXPECTED, source
    assert len(list(unlabelled.images_of(f"{bucket}/shards/*.tar"))) == 16


def test_a_member_is_one_request_for_its_own_bytes(server):
    manifest = labelled.load(f"{server.url}/shards/train-000.tar")
    server.asked.clear()
    for row in (5, 2):
        place = manifest.place(row)
        loading.read(place)
        assert server.asked.pop()[1] == f"bytes={place.offset - 388}-{place.offset + place.size - 1}"
    assert server.asked == []


def test_an_archive_is_indexed_once(server):
    labelled.load(f"{server.url}/shards/train-000.tar")
    server.asked.clear()
    labelled.load(f"{server.url}/shards/train-000.tar")
    assert server.asked == []


def test_features_equal_those_of_the_files_and_what_changes_there_is_read_again(server, files):
    for source in SOURCES[::2]:
        here = extract(str(files / source), **SETTINGS)
        there = extract(f"{server.url}/{source}", cache=Path("remote.h5"), **SETTINGS)
        assert np.array_equal(there.read(), here.read())
        assert there.manifest.source == f"{server.url}/{source}"
        assert str(there.manifest.root) == f"{server.url}/{os.path.dirname(source)}"
        os.remove("remote.h5")
    extract(f"{server.url}/photos/list.csv", cache=Path("remote.h5"), **SETTINGS)
    picture(77).save(files / "photos/03.png")
    server.asked.clear()
    cache = extract(f"{server.url}/photos/list.csv", cache=Path("remote.h5"), **SETTINGS)
    asked = {path for path, _ in server.asked}
    assert "/photos/03.png" in asked
    assert len(asked) <= CANARIES + 2  # finished rows that are computed again, the list, and the image
    assert cache.status.tolist() == [DONE] * 16


SETTINGS = {"weights": "random", "image_px": 32, "batch_size": 4, "precision": "fp32", "compile": "off", "workers": 2}


@pytest.mark.parametrize("source", SOURCES)
def test_a_connection_that_is_lost_ends_the_pass_and_the_same_command_goes_on(server, source):
    settings = config(f"{server.url}/{source}", cache=Path("f.h5"))
    labelled.load(settings.data)  # indexes the archives
    rows._group.cache_clear()
    server.answers = 9 if "parquet" not in source else 3
    with pytest.raises(DataError, match=r"cannot be read: the server cannot be reached, or refuses .* again to go on"):
        updating.bring_up_to_date(settings)
    if os.path.exists("f.h5"):
        assert set(FeatureCache(Path("f.h5")).status.tolist()) <= {0, DONE}
    server.answers = 10**9
    cache = updating.bring_up_to_date(settings)
    assert FeatureCache(Path("f.h5")).status.tolist() == [DONE] * 16, cache


def test_a_connection_that_comes_back_is_not_noticed(server, monkeypatch):
    place = labelled.load(f"{server.url}/shards/train-000.tar").place(0)
    server.answers = 0

    def come_back(_):
        server.answers = 10**9

    monkeypatch.setattr(remote.time, "sleep", come_back)
    assert loading.read(place) == encoded(0)


def test_what_is_missing_or_refused_is_said_in_a_sentence(server, bucket):
    for source in (f"{server.url}/none.tar", f"{bucket}/none.tar", "s3://nobody/none.csv"):
        with pytest.raises(DataError, match=rf"^{source} cannot be read: there is no such object\.$"):
            labelled.load(source)
    server.refused.add("/shards/train-000.tar")
    with pytest.raises(DataError, match=r"train-000\.tar cannot be read: no permission \(403, message='Forbidden'"):
        labelled.load(f"{server.url}/shards/train-000.tar")
    with pytest.raises(DataError, match=r"^s3://images/empty is no \.tar, \.parquet or list, and no folder"):
        labelled.load(f"{bucket}/empty")
    (server.folder / "photos/03.png").unlink()
    with pytest.raises(DataError, match=r"1 of 16 files of .*list\.csv are not in http.*photos: 03\.png"):
        labelled.load(f"{server.url}/photos/list.csv")


def test_nothing_but_what_is_named_is_asked_for(server, files):
    """Servers may refuse to tell what else there is."""
    archive(files / "n/a.tar", [member for n in range(4) for member in sample(n, n % 2)])
    server.asked.clear()
    assert labelled.load(f"{server.url}/n/a.tar").classes == ("0", "1")
    assert {path for path, _ in server.asked} == {"/n/a.tar"}


def test_permission_that_ends_in_a_pass_says_nothing_of_the_images(server):
    settings = config(f"{server.url}/photos/list.csv", cache=Path("f.h5"))
    manifest = labelled.load(settings.data)
    server.refused.add("/photos/09.png")
    with pytest.raises(DataError, match=r"photos/09\.png cannot be read: no permission .* again to go on"):
        list(loading.stream(manifest.places(range(16)), Geometry(32, "squash", 37, True), 2, 4))


def test_a_server_without_ranges_is_refused(server):
    place = labelled.load(f"{server.url}/shards/train-000.tar").place(0)
    server.knows_ranges = False
    with pytest.raises(RemoteError, match="its server gives no parts of files"):
        place.archive.read_bytes(0, 10)


def test_an_archive_that_was_written_again_is_noticed(server, files):
    data = f"{server.url}/shards/train-000.tar"
    before = labelled.load(data)
    archive(files / "shards/train-000.tar", [m for n in range(20, 28) for m in sample(n, ("cat", "dog")[n % 2])])
    now = labelled.load(data)
    assert (before.mtimes_ns != now.mtimes_ns).all()
    assert loading.load(0, before.place(0), lambda *_: {0: None})[0].reason == "the file vanished"
    assert loading.read(now.place(0)) == encoded(20)


def test_no_server_at_all_is_said_soon(monkeypatch):
    monkeypatch.setattr(remote, "WAITS_SECONDS", (0, 0))
    monkeypatch.setattr(remote, "_file_system", remote._file_system.__wrapped__)
    monkeypatch.setitem(fsspec.config.conf, "hf", {"endpoint": "http://127.0.0.1:1"})
    for url in ("http://127.0.0.1:1/a.tar", "hf://datasets/nobody/nothing/a.parquet", "hf://datasets/nobody/nothing"):
        with pytest.raises(DataError, match=rf"^{url}.* cannot be read: the server cannot be reached, or refuses"):
            labelled.load(url)


def test_without_the_extra_the_command_that_installs_it_is_named(monkeypatch):
    monkeypatch.setattr(remote, "_file_system", remote._file_system.__wrapped__)
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(DataError, match=r"^hf:// needs an extra: \.venv/bin/pip install 'headstart\[remote\]'$"):
        labelled.load("hf://datasets/a/b")


def test_urls_stay_urls_whatever_is_done_to_them():
    path = as_path("s3:/bucket//a/b.tar")
    assert isinstance(path, RemotePath)
    assert str(path) == os.fspath(path) == "s3://bucket/a/b.tar"
    assert str(path.parent / "c") == os.path.join(path.parent, "c") == "s3://bucket/a/c"
    assert path == as_path("s3://bucket/a/b.tar")
    assert not isinstance(as_path("photos/a:b/c"), RemotePath)


def test_remote_images_are_predicted_one_by_one_from_lists_and_from_archives(server):
    assert list(unlabelled.images_of(f"{server.url}/photos/list.csv"))[1] == f"{server.url}/photos/01.png"
    for name in (f"{server.url}/photos/01.png", f"{server.url}/shards/train-000.tar/000001.png"):
        assert loading.read(archives.place_of(name)) == encoded(1)
    assert list(unlabelled.images_of(f"{server.url}/photos/01.png")) == [f"{server.url}/photos/01.png"]
    for name in (f"{server.url}/folder", f"{server.url}/photos/*.png"):
        with pytest.raises(DataError, match="names no images"):
            unlabelled.count(name)
