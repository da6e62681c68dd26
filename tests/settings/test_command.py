"""Commands in messages are quoted for the shell, and say no more than is needed."""

import shlex
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headstart.settings import ExtractConfig, HeadConfig
from headstart.settings.command import command, given_flags

NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


@pytest.fixture
def clone(tmp_path, monkeypatch) -> Path:
    """A folder with the project's Makefile."""
    (tmp_path / "Makefile").touch()
    (tmp_path / "pipelines").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_command_is_that_of_make_where_there_is_a_makefile(clone):
    said = command("extract", clone / "photos", clone / "mine.h5", 2, ["--image-px", "160"])
    assert said == "make extract DATA=photos CACHE=mine.h5 VIEWS=2 EXTRACT_ARGS='--image-px 160'"


def test_a_command_is_a_call_of_the_program_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    interpreter, program, *flags = shlex.split(command("train-head", "my photos", flags=["--lr", "1"]))
    assert interpreter == sys.executable
    assert Path(program).name == "train_head.py"
    assert Path(program).is_file()
    assert flags == ["--data=my photos", "--lr", "1"]


def test_what_was_taken_back_of_the_data_is_not_said_again(clone):
    assert command("train-head", "photos", listing={"group_by": ""}) == "make train-head DATA=photos"
    said = command("train-head", "photos", listing={"class_level": "leaf"})
    assert said == "make train-head DATA=photos EXTRACT_ARGS='--class-level leaf'"


def test_a_cache_of_the_data_sets_own_name_is_left_out(clone):
    assert command("extract", "a/photos", Path("data/features/photos.h5")) == "make extract DATA=a/photos"
    assert "CACHE" in command("extract", "a/photos", Path("data/features/b-photos.h5"))
    assert "CACHE" in command("extract", None, Path("data/features/photos.h5"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(NAMES, NAMES)
def test_any_name_and_any_flag_come_through(clone, name, flag):
    _, _, data, flags = shlex.split(command("extract", name, flags=["--weights", flag]))
    assert data == f"DATA={name}"
    assert shlex.split(flags.removeprefix("EXTRACT_ARGS=").replace("$$", "$")) == ["--weights", flag]


def test_flags_are_the_settings_that_differ_from_the_defaults():
    config = ExtractConfig(data="photos", image_px=160, reduced_decode=False, prune=True, views=2)
    flags = ["--data", "photos", "--image-px", "160", "--no-reduced-decode", "--views", "2", "--prune"]
    assert given_flags(config) == flags
    assert given_flags(config, leave_out=("data", "prune", "views")) == flags[2:5]
    assert given_flags(HeadConfig(hidden=(512, 256), lr=1e-4)) == ["--hidden", "512", "256", "--lr", "0.0001"]
