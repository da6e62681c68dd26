"""Progress on a terminal is a bar; in a log it is now and then a line that says how far, how fast, and how long yet."""

import io
import re
import sys
from types import SimpleNamespace

import pytest

from headstart.support import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def no_waiting(monkeypatch):
    monkeypatch.setattr(progress, "PLAIN_SECONDS", 0.0)


def go(count=5):
    with progress.bar(count, "extracting", "images") as bar:
        for _ in range(count):
            bar.update()


def test_a_log_gets_lines_without_carriage_returns(no_waiting, capsys):
    go()
    err = capsys.readouterr().err
    assert "\r" not in err
    assert "\x1b" not in err
    assert len(err.splitlines()) >= 4


def test_a_line_says_what_how_far_how_fast_and_how_long_yet(no_waiting, capsys):
    go()
    last = capsys.readouterr().err.splitlines()[-1]
    assert re.fullmatch(r"extracting: 5/5 images, +[\d.]+k? images/s, 00:00 left", last)


def test_short_work_leaves_no_line_in_a_log(capsys):
    go()
    assert capsys.readouterr() == ("", "")


def test_long_work_says_something_every_ten_seconds_and_no_more(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now[0]))
    with progress.bar(100, "extracting", "images") as bar:
        bar._time = lambda: now[0]
        bar.start_t = bar.last_print_t = 0.0
        for _ in range(100):
            now[0] += 1.0
            bar.update()
    lines = capsys.readouterr().err.splitlines()
    assert 8 <= len(lines) <= 11
    assert all(re.match(r"extracting: \d+/100 images, ", line) for line in lines)


def test_a_terminal_gets_one_bar_that_moves(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress.bar(3, "extracting", "images") as bar:
        for _ in range(3):
            bar.update()
            bar.refresh()
    shown = terminal.getvalue()
    assert shown.count("\r") >= 3
    assert shown.count("\n") == 1
    assert "3/3 images" in shown


def test_an_error_on_the_way_closes_the_bar(no_waiting, capsys):
    def fail(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), progress.bar(3, "extracting", "images") as bar:
        any(map(fail, [bar.update()]))
    assert "\r" not in capsys.readouterr().err


def test_nothing_to_do_is_no_division_by_zero(no_waiting, capsys):
    go(0)
    assert "\r" not in capsys.readouterr().err


def test_what_is_said_goes_to_stdout_as_a_line_of_its_own(no_waiting, capsys):
    with progress.bar(3, "extracting", "images") as bar:
        bar.update()
        progress.say("precision: bf16")
    captured = capsys.readouterr()
    assert captured.out == "precision: bf16\n"
    assert "\r" not in captured.out + captured.err
