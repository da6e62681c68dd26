"""Drawing: names that the fonts hold, axes that can be read, and SVG that fits into a page."""

import re
from itertools import pairwise
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.runs import pictures
from headstart.runs.drawing import MAX_LETTERS, PALETTE, drawable, log_axis, picture, svg

NASTY = '</text><script>alert("1")</script> & #0072b2 1.23456'


def chart(axes):
    axes.plot([0, 1], [0, 1], "o-", color=PALETTE[0])
    axes.plot([0, 1], [1, 0], "s", color="#888888", rasterized=True)
    axes.text(0.5, 0.5, NASTY, parse_math=False)


@given(st.text(st.characters()))
def test_any_name_becomes_one_short_line_that_the_fonts_hold(name):
    shown = drawable(name, "class 7")
    assert 0 < len(shown) <= MAX_LETTERS
    assert "\n" not in shown
    assert drawable(shown, "class 7") == shown


def test_a_users_own_matplotlib_style_does_not_reach_the_pictures(tmp_path, drawn):
    history = [{"epoch": 1, "train_loss": 1.0, "val_loss": 1.0, "val_accuracy": 0.5}]
    with matplotlib.rc_context({"text.usetex": True, "figure.facecolor": "black", "svg.fonttype": "path"}):
        pictures.training_curves(history, tmp_path / "styled.png")
        styled = svg(chart, "a")
    pictures.training_curves(history, tmp_path / "plain.png")
    assert (tmp_path / "styled.png").read_bytes() == (tmp_path / "plain.png").read_bytes()
    assert styled == svg(chart, "a")


def test_text_in_an_svg_stays_text_as_it_is_and_never_becomes_markup():
    text = svg(chart, NASTY)
    tree = ElementTree.fromstring(text)
    assert NASTY in [element.text for element in tree.iter("text")]
    assert tree.get("aria-label") == NASTY
    assert {element.tag for element in tree.iter()} <= {"svg", "g", "path", "use", "text", "image", "defs"}


def test_an_svg_takes_its_colours_from_the_page_and_nothing_from_elsewhere():
    text = svg(chart, "a")
    assert {"var(--c0)", "var(--quiet)", "var(--rule)"} <= set(re.findall(r"var\([^)]*\)", text))
    assert not re.search(r"https?:|url\(|<style|<metadata", text)
    ids = set(re.findall(r' id="([^"]*)"', text))
    assert set(re.findall(r'href="#([^"]*)"', text)) <= ids


def test_the_same_chart_is_the_same_svg_and_another_label_gives_other_ids():
    one, again, other = svg(chart, "a"), svg(chart, "a"), svg(chart, "b")
    assert one == again
    ids = [set(re.findall(r' id="([^"]*)"', text)) for text in (one, other)]
    assert ids[0]
    assert not ids[0] & ids[1]


@pytest.mark.parametrize("size", [1, 2000])
def test_numbers_in_an_svg_are_short(size):
    values = np.random.default_rng(0).normal(size=(2, size))
    text = svg(lambda axes: axes.plot(*values, "."), "a")
    assert not re.search(r'(?:x|y|d)="[^"]*\.\d{3}', text)


@settings(max_examples=25)
@given(st.lists(st.floats(1e-3, 1e7), min_size=1, max_size=5), st.sampled_from([5.6, 10]))
def test_the_ticks_of_a_time_axis_leave_each_other_room(tmp_path_factory, values, width_inches):
    with picture(tmp_path_factory.mktemp("axis") / "axis.png", width_inches, 3) as figure:
        axes = figure.subplots()
        log_axis(axes, values, pictures.TIME_TICKS)
    assert all(axes.get_xlim()[0] < value < axes.get_xlim()[1] for value in values)
    boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
    assert boxes
    assert not any(left.x1 + 2 > right.x0 for left, right in pairwise(boxes))
