"""What is found in a tar archive: every image with its own label, or a sentence; nothing is left out without a word."""

import json
import os
import re
import tarfile
from collections import Counter
from io import BytesIO

import pytest
from helpers.pictures import archive, encoded, sample

from headstart.datasets import tar_index
from headstart.errors import DataError


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """Indexes are kept below the folder where a program runs."""
    monkeypatch.chdir(tmp_path)


def index_of(path):
    return tar_index.index_of(str(path), os.stat(path))


def images(path):
    """Content and class of every image, by its name."""
    index, data = index_of(path), path.read_bytes()
    classes = [*index["classes"].tolist(), None]
    columns = (index[column].tolist() for column in ("names", "labels", "offsets", "sizes"))
    return {
        os.fsdecode(name): (data[offset : offset + size], classes[label])
        for name, label, offset, size in zip(*columns, strict=True)
    }


def labels(path):
    return {name: label for name, (_, label) in images(path).items()}


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_form_of_tar_and_any_name_is_read(tmp_path, form):
    folder = "a folder/" if form == tarfile.USTAR_FORMAT else "wörter/" + "long" * 40 + "/"
    members = [member for n in range(6) for member in sample(n, n % 2, f"./{folder}")]
    path = archive(tmp_path / "all.tar", members, form)
    assert images(path) == {f"{folder}{n:06}.png": (encoded(n), str(n % 2)) for n in range(6)}


WHOLE = [member for n in range(6) for member in sample(n, n % 2)]


def header(path, number):
    """Where a member's header begins."""
    with tarfile.open(path) as tar:
        return tar.getmembers()[number].offset


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data, at: data[:at] + b"\xff" * 512 + data[at + 512 :],
        lambda data, at: data[:at] + bytes(512) + data[at + 512 :],
        lambda data, at: data[:at],
        lambda data, at: data[: at + 200],
        lambda data, at: data[:at] + bytes(200),
    ],
    ids=["overwritten header", "header of zeros", "cut between members", "cut in a header", "cut in its end"],
)
def test_an_archive_that_is_damaged_or_cut_is_not_taken_for_a_whole_one(tmp_path, spoil):
    path = archive(tmp_path / "x.tar", WHOLE)
    at = header(path, 6)
    path.write_bytes(spoil(path.read_bytes(), at))
    with pytest.raises(DataError, match=rf"x.tar ends in the middle, or is damaged at byte {at:,}: .* Copy"):
        index_of(path)


def test_an_end_of_one_block_is_enough(tmp_path):
    path = archive(tmp_path / "x.tar", WHOLE)
    with tarfile.open(path) as tar:
        end = tar.getmembers()[-1].offset_data + 512
    path.write_bytes(path.read_bytes()[: end + 512])
    assert len(images(path)) == 6


def test_labels_come_from_a_cls_or_a_json_and_what_has_none_is_unlabelled(tmp_path):
    members = [
        ("a.jpg", b"0"), ("a.cls", "3\n"), ("a.json", '{"label": "ignored"}'),
        ("b.JPG", b"1"), ("b.json", '{"cls": " 5\\n", "width": 3}'), ("c.jpg", b"2"),
        ("d.jpg", b"3"), ("d.json", '{"width": 3}'), ("e.json", '{"label": "x"}'), ("f.CLS", "3"), ("f.webp", b"4"),
        ("g.jpg", b"5"), ("g.json", '{"label": null}'), ("h.jpg", b"6"), ("h.json", '{"label": null, "class": 0}'),
    ]  # fmt: skip
    assert labels(archive(tmp_path / "x.tar", members)) == {
        "a.jpg": "3", "b.JPG": "5", "c.jpg": None, "d.jpg": None, "f.webp": "3", "g.jpg": None, "h.jpg": "0"
    }  # fmt: skip


def test_json_with_names_is_read_as_text(tmp_path):
    members = [("1.png", b"1"), ("1.json", json.dumps({"label": "Größe"}, ensure_ascii=False))]
    assert labels(archive(tmp_path / "x.tar", members)) == {"1.png": "Größe"}


@pytest.mark.parametrize("suffix", ["cls", "json"])
def test_of_a_name_that_is_there_twice_the_later_member_counts_as_in_tar(tmp_path, suffix):
    cat, dog = ("cat", "dog") if suffix == "cls" else ('{"label": "cat"}', '{"label": "dog"}')
    first = [("1.png", b"old"), (f"1.{suffix}", cat), ("2.png", b"2"), (f"2.{suffix}", cat)]
    path = archive(tmp_path / "x.tar", [*first, ("1.png", b"new"), (f"1.{suffix}", dog)])
    assert images(path) == {"1.png": (b"new", "dog"), "2.png": (b"2", "cat")}


def test_a_name_may_have_more_dots_whether_its_label_has_them_or_not(tmp_path):
    members = [
        ("img_0.5.png", b"0"), ("img_0.5.cls", "cat"), ("img_0.7.png", b"1"), ("img_0.7.json", '{"label": "dog"}'),
        ("in.v1/photo.v2.jpg", b"2"), ("in.v1/photo.cls", "cat"), ("a.1.png", b"3"), ("a.2.png", b"4"),
    ]  # fmt: skip
    assert labels(archive(tmp_path / "x.tar", members)) == {
        "img_0.5.png": "cat", "img_0.7.png": "dog", "in.v1/photo.v2.jpg": "cat", "a.1.png": None, "a.2.png": None
    }  # fmt: skip


def test_what_is_left_out_is_counted_but_for_hidden_files_as_in_folders(tmp_path):
    members = [
        ("b.jpg", b"1"), ("b.cls", "cat"), ("b.seg.png", b"a mask"), ("b.txt", "a caption"), ("c.txt", "a caption"),
        ("README", "no suffix"), (".thumbs/1.png", b"hidden"), ("d/.t/e/1.png", b"hidden"), ("._b.jpg", b"a Mac's"),
    ]  # fmt: skip
    path = archive(tmp_path / "x.tar", members)
    with tarfile.open(path, "a") as tar:
        for number, kind in enumerate((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE)):
            member = tarfile.TarInfo(f"link{number}.png")
            member.type, member.linkname = kind, "elsewhere.png"
            tar.addfile(member)
    for _ in range(2):
        assert labels(path) == {"b.jpg": "cat"}
        left_out = tar_index.left_out(index_of(path))
        assert left_out == Counter({".txt": 2, "link": 2, ".seg.png": 1, "no suffix": 1})


def test_a_hard_link_is_the_file_that_it_leads_to(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name, content in ((".kept/1", b"one"), ("1.cls", b"cat")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, BytesIO(content))
        for name, target in (("1.png", "./.kept/1"), ("2.png", "1.png"), ("2.cls", "1.cls")):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.LNKTYPE, target
            tar.addfile(member)
    assert images(tmp_path / "x.tar") == {"1.png": (b"one", "cat"), "2.png": (b"one", "cat")}


@pytest.mark.parametrize("other", ["1.jpg", "1.v2.png"])
def test_two_images_do_not_share_a_label(tmp_path, other):
    names = sorted(["1.v1.png" if other == "1.v2.png" else "1.png", other])
    path = archive(tmp_path / "x.tar", [("1.cls", "cat"), *((name, b"") for name in names)])
    message = f"x.tar: {names[0]} and {names[1]} have one label, that of 1. "
    with pytest.raises(DataError, match=re.escape(message)):
        index_of(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("1.json", "{"), ("1.json", "[" * 100_000), ("1.json", '{"label": "\\ud800"}'), ("1.cls", b"\xff"),
        ("1.cls", "x" * 2000), ("1.json", f'{{"label": {"1" * 4000}}}'),
    ],
)  # fmt: skip
def test_a_label_that_is_no_text_is_refused_in_a_sentence(tmp_path, name, content):
    path = archive(tmp_path / "x.tar", [("1.png", b""), (name, content)])
    with pytest.raises(DataError, match=rf"x.tar: {name} cannot be read: "):
        index_of(path)


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("000001.cls", tarfile.REGTYPE, "x.tar: 000001.cls cannot be read: it has"),
        ("1", tarfile.GNUTYPE_LONGNAME, "a header of"),
    ],
)
def test_a_label_or_a_name_of_gigabytes_is_refused_by_its_size(tmp_path, name, kind, message):
    path = archive(tmp_path / "x.tar", sample(1, "cat")[:1])
    with tarfile.open(path) as tar:
        tar.getmembers()
        end = tar.offset
    member = tarfile.TarInfo(name)
    member.size, member.type = 8 * 2**30, kind
    with path.open("r+b") as file:
        file.seek(end)
        file.write(member.tobuf(tarfile.GNU_FORMAT))
        file.truncate(file.tell() + member.size + 10_240)
    with pytest.raises(DataError, match=message):
        index_of(path)


@pytest.mark.parametrize(
    ("label", "kind"), [(["cat"], "a list"), (["cat", "indoor"], "a list"), ([], "a list"), ({"a": 1}, "an object")]
)
@pytest.mark.parametrize("key", ["label", "cls", "class"])
def test_a_label_that_is_a_list_or_an_object_is_refused_in_words(tmp_path, key, label, kind):
    path = archive(tmp_path / "x.tar", [("1.png", b""), ("1.json", json.dumps({key: label}))])
    with pytest.raises(DataError, match=rf"x.tar: 1.json cannot be read: its label is {kind}, .*; write one name"):
        index_of(path)


def test_an_archive_that_may_not_be_read_is_refused_in_a_sentence(tmp_path, monkeypatch):
    path = archive(tmp_path / "x.tar", WHOLE)

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tarfile, "open", refuse)  # root may read everything
    with pytest.raises(DataError, match=r"x\.tar cannot be read: Permission denied"):
        index_of(path)


def test_members_are_looked_for_once(tmp_path, monkeypatch):
    path = archive(tmp_path / "x.tar", WHOLE)
    first = images(path)
    monkeypatch.setattr(tarfile, "open", lambda *_, **__: pytest.fail("the archive was read again"))
    assert images(path) == first


def test_an_archive_packed_in_another_order_is_read_anew_though_size_and_time_are_the_same(tmp_path):
    path = archive(tmp_path / "x.tar", WHOLE)
    os.utime(path, ns=(1, 1))
    before, size = images(path), path.stat().st_size
    path.unlink()
    archive(path, reversed(WHOLE))
    os.utime(path, ns=(1, 1))
    assert path.stat().st_size == size
    assert images(path) == before


@pytest.mark.parametrize("spoil", [lambda file: file.write_bytes(b"no index"), lambda file: file.write_bytes(b"")])
def test_a_damaged_index_is_made_anew(tmp_path, spoil):
    path = archive(tmp_path / "x.tar", WHOLE)
    first = images(path)
    for file in tar_index.INDEXES.iterdir():
        spoil(file)
    assert images(path) == first


def test_where_no_index_can_be_kept_archives_are_still_read(tmp_path):
    (tmp_path / "data").write_bytes(b"in the way")
    assert len(images(archive(tmp_path / "x.tar", WHOLE))) == 6
