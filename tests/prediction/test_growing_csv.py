"""A CSV that grows: whole or not there, and whoever is stopped, however roughly, goes on with what was written."""

import csv
import os
import resource
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.errors import RunError
from headstart.prediction.growing_csv import GrowingCsv

HEADER = ["path", "answer"]
NAMES = ["a.jpg", "b,c.jpg", 'quote".jpg', "two\nlines.jpg", "caf\udce9.jpg", "last.jpg"]


def lines(count=6):
    return [[name, str(place)] for place, name in enumerate(NAMES[:count])]


def grow(path, new, key="model", names=(), keep=lambda line: True):
    """Returns the names that had no line before."""
    with GrowingCsv(path, key, HEADER) as file:
        missing = list(file.resume(iter(names), keep))
        for line in new:
            file.write(line)
    return missing


def read(path):
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.reader(file))


def stopped_after(path, count, key="model"):
    """What is left when a process ends in the middle; returns the part."""
    file = GrowingCsv(path, key, HEADER)
    file.__enter__()
    file.resume(iter(NAMES), lambda line: True)
    for line in lines(count):
        file.write(line)
    file.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    return file.part


def test_a_finished_file_has_its_name_and_all_lines_and_nothing_lies_beside_it(tmp_path):
    path = tmp_path / "deep" / "out.csv"
    assert grow(path, lines(), names=NAMES) == NAMES
    assert read(path) == [HEADER, *lines()]
    assert os.listdir(path.parent) == ["out.csv"]


def test_a_stopped_file_is_not_there_yet_and_goes_on_where_it_was(tmp_path):
    path, noted = tmp_path / "out.csv", []
    stopped_after(path, 4)
    assert not path.exists()
    assert grow(path, lines()[4:], names=NAMES, keep=lambda line: not noted.append(line)) == NAMES[4:]
    assert noted == lines(4)
    assert read(path) == [HEADER, *lines()]


@given(end=st.integers(0, 200))
def test_wherever_a_killed_process_cut_the_file_the_whole_lines_before_it_are_kept(tmp_path_factory, end):
    path = tmp_path_factory.mktemp("cut") / "out.csv"
    part = stopped_after(path, len(NAMES))
    part.write_bytes(part.read_bytes()[:end])
    with GrowingCsv(path, "model", HEADER) as file:
        for name in file.resume(iter(NAMES), lambda line: True):
            file.write(lines()[NAMES.index(name)])
    assert read(path) == [HEADER, *lines()]


def test_a_file_that_is_there_stays_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / "out.csv"
    path.write_text("old")
    stopped_after(path, 2)
    assert path.read_text() == "old"


@pytest.mark.parametrize("names", [["other.jpg", *NAMES[1:]], [], NAMES[:1]])
def test_lines_that_are_not_those_expected_are_cut_off(tmp_path, names):
    path = tmp_path / "out.csv"
    stopped_after(path, 3)
    missing = grow(path, [["new.jpg", "x"]], names=names)
    kept = 0 if "other.jpg" in names else min(3, len(names))
    assert missing == names[kept:]
    assert read(path) == [HEADER, *lines(kept), ["new.jpg", "x"]]


def test_another_model_does_not_go_on_with_these_lines(tmp_path):
    path = tmp_path / "out.csv"
    stopped_after(path, 3)
    assert grow(path, lines(), key="other", names=NAMES) == NAMES


def test_a_part_with_other_columns_is_started_anew(tmp_path):
    path = tmp_path / "out.csv"
    part = stopped_after(path, 2)
    part.write_bytes(part.read_bytes().replace(b"answer", b"result"))
    assert grow(path, lines(), names=NAMES) == NAMES
    assert read(path) == [HEADER, *lines()]


@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_line_with_a_flipped_bit_is_written_again(tmp_path_factory, place, bit):
    path = tmp_path_factory.mktemp("flipped") / "out.csv"
    part = stopped_after(path, len(NAMES))
    content = bytearray(part.read_bytes())
    content[place % len(content)] ^= 1 << bit
    part.write_bytes(content)
    with GrowingCsv(path, "model", HEADER) as file:
        for name in file.resume(iter(NAMES), lambda line: True):
            file.write(lines()[NAMES.index(name)])
    assert read(path) == [HEADER, *lines()]


def test_a_line_whose_name_stands_for_something_else_by_now_is_cut_off_with_all_behind_it(tmp_path):
    path, stamps = tmp_path / "out.csv", dict.fromkeys(NAMES, "1")
    with suppress(KeyboardInterrupt), GrowingCsv(path, "model", HEADER, stamps.__getitem__) as file:
        for name, line in zip(file.resume(iter(NAMES), lambda line: True), lines(5), strict=False):
            file.write(line, stamps[name])
        raise KeyboardInterrupt
    stamps[NAMES[3]] = "2"
    with GrowingCsv(path, "model", HEADER, stamps.__getitem__) as file:
        assert list(file.resume(iter(NAMES), lambda line: True)) == NAMES[3:]
    assert read(path) == [HEADER, *lines(3)]


def test_a_line_that_is_not_to_be_kept_is_cut_off_with_all_behind_it(tmp_path):
    path = tmp_path / "out.csv"
    stopped_after(path, 5)
    assert grow(path, lines()[2:], names=NAMES, keep=lambda line: line[1] != "2") == NAMES[2:]
    assert read(path) == [HEADER, *lines()]


def test_a_file_that_another_process_writes_is_left_to_it(tmp_path):
    path = tmp_path / "out.csv"
    with GrowingCsv(path, "model", HEADER) as file:
        file.resume(iter(()), lambda line: True)
        with pytest.raises(RunError, match=r"out\.csv is being written by process"):
            grow(path, lines())
        file.write(["a.jpg", "0"])
    assert read(path) == [HEADER, ["a.jpg", "0"]]


def test_a_key_may_hold_names_that_are_no_text(tmp_path):
    stopped_after(tmp_path / "out.csv", 3, key="caf\udce9")
    assert grow(tmp_path / "out.csv", lines()[3:], key="caf\udce9", names=NAMES) == NAMES[3:]


def test_a_folder_is_no_file_to_write(tmp_path):
    with pytest.raises(RunError, match="is a folder: name a file to write with --out"):
        GrowingCsv(tmp_path, "model", HEADER)


@pytest.mark.parametrize("special", ["pipe", "/dev/null", "/dev/zero"])
def test_a_pipe_or_a_device_is_no_file_to_write(tmp_path, special):
    path = tmp_path / special
    if special == "pipe":
        os.mkfifo(path)
    with pytest.raises(RunError, match="is a device or a pipe: name a file to write with --out"):
        GrowingCsv(path, "model", HEADER)


def test_a_link_is_replaced_and_what_it_leads_to_stays(tmp_path):
    (tmp_path / "mine").write_text("precious")
    (tmp_path / "out.csv").symlink_to(tmp_path / "mine")
    grow(tmp_path / "out.csv", lines(), names=NAMES)
    assert read(tmp_path / "out.csv") == [HEADER, *lines()]
    assert (tmp_path / "mine").read_text() == "precious"


def test_a_part_that_is_a_link_is_refused_and_what_it_leads_to_stays(tmp_path):
    (tmp_path / "mine").write_text("precious")
    GrowingCsv(tmp_path / "out.csv", "model", HEADER).part.symlink_to(tmp_path / "mine")
    with pytest.raises(RunError, match=r"out\.csv cannot be written: it is a link to .*mine, remove it"):
        grow(tmp_path / "out.csv", lines(), names=NAMES)
    assert (tmp_path / "mine").read_text() == "precious"


@pytest.fixture
def small_disk():
    """No file may grow beyond 64 KiB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("count", [1_300, 20_000])
def test_a_full_disk_is_a_sentence_and_what_was_written_is_kept(tmp_path, small_disk, count):
    """Noticed with a line, or with the last ones, which wait in memory."""
    path, names = tmp_path / "out.csv", [f"{number:032}" for number in range(count)]
    with pytest.raises(RunError, match=r"out\.csv cannot be written: File too large\. What is there is kept"):
        grow(path, [[name, "0"] for name in names])
    assert not path.exists()
    assert count - len(grow(path, (), names=names)) > 1_000


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written: File exists"):
        grow(tmp_path / "file" / "out.csv", lines())
