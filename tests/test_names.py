"""Names of files, classes and runs are shown as text: in the terminal, the card, CSV files and pages."""

import csv
import subprocess
import sys
from io import BytesIO

import pytest
from helpers.pictures import picture
from helpers.processes import PIPELINES, ran

from headstart.prediction.model_card import as_text
from headstart.report.page import environment_of
from headstart.support import output
from headstart.support.files import read_csv, write_csv
from headstart.support.quantities import some

STEERING = {
    "\x1b": r"\x1b",
    "\x9b": r"\x9b",
    "\r": r"\x0d",
    "\b": r"\x08",
    "\0": r"\x00",
    "\u202e": r"\u202e",
    "\u2028": r"\u2028",
    "\udc9b": r"\x9b",
}
FORMULAS = ["=1+1", "+1", "@SUM(1)", "\t=1", "\r=1", "-1+cmd|' /C calc'!A0", "'=1", "./=1", "-1.png", "a=1"]
HTML = "<img src=x onerror=alert(1)>"


def shown(*pieces):
    """What is written to the terminal of a program."""
    stream = output.Shown(BytesIO(), "utf-8", "surrogateescape", newline="")
    for piece in pieces:
        print(piece, end="", file=stream)
    stream.seek(0)
    return stream.read()


@pytest.mark.parametrize("character", STEERING)
def test_the_terminal_shows_what_would_steer_it(character):
    assert shown(f"café: a{character}[2Jb\tnext\n") == f"café: a{STEERING[character]}[2Jb\tnext\n"


def test_a_progress_bar_still_goes_back_in_its_line():
    pieces = ("\rextracting 5/9", "\n\n", "\x1b[A\x1b[A", "\r")
    assert shown(*pieces) == "".join(pieces)


def test_names_in_a_sentence_stay_in_its_line():
    assert some(["a\nb", "c"]) == r"a\nb, c"


@pytest.mark.parametrize("name", [HTML, '" onload="alert(1)', "javascript:'<"])
def test_a_page_shows_markup(name, tmp_path):
    (tmp_path / "a.jinja").write_text('<p title="{{ name }}">{{ name | breakable }} {{ name }}</p>')
    page = environment_of(tmp_path).get_template("a.jinja").render(name=name)
    assert page.count("<") - page.count("<wbr>") == 2
    assert page.count('"') == 2


def test_a_card_shows_markup():
    said = as_text({"classes": [HTML, "[x](a)", "a|`*b*`\n# c", "my_photos"], "images": 3})
    shown = [r"\<img src=x onerror=alert(1)\>", r"\[x\](a)", r"a\|\`\*b\*\`\\n\# c", "my_photos"]
    assert said == {"classes": shown, "images": 3}


@pytest.mark.parametrize("name", FORMULAS)
def test_a_spreadsheet_computes_no_name_and_it_is_read_back_as_it_was(name, tmp_path):
    rows = [["path", "label", "p_a"], [name, name, "-0.5"]]
    write_csv(tmp_path / "a.csv", rows)
    assert list(read_csv(tmp_path / "a.csv")) == rows
    with (tmp_path / "a.csv").open(newline="") as file:
        _, cells = csv.reader(file)
    is_plain = name in ("-1.png", "a=1")
    path, label = is_plain or name == "'=1", is_plain or name == "./=1"
    assert cells == [name if path else f"./{name}", name if label else f"'{name}", "-0.5"]


STRANGE = "a\x1b[2J" + HTML.replace("/", "") + "\r[x](a)"


def test_programs_show_the_strangest_names_as_text_everywhere(tmp_path):
    """Of folders, files and classes: in what they print, their errors, pages and cards."""
    for number in range(40):
        folder = tmp_path / STRANGE / STRANGE.replace("a", "ab"[number % 2], 1)
        folder.mkdir(parents=True, exist_ok=True)
        picture(number).save(folder / f"{number}{STRANGE}.png")
    net = ("--backbone", "resnet18")
    small = ("--weights", "random", "--image-px", "32", "--device", "cpu", "--workers", "1", "--compile", "off")
    for program, flags in {
        "extract": (*net, *small),
        "train_head": (*net, "--epochs", "1"),
        "compare": net,
        "audit": net,
        "inspect_cache": net,
    }.items():
        ran(program, "--data", STRANGE, *flags, cwd=tmp_path)
    pages = [page.read_text() for page in tmp_path.rglob("*.html")]
    assert len(pages) == 2
    assert not [page for page in pages if "<img src=x" in page or "\x1b" in page or "\r" in page]
    for program, data, code in (("data_check", STRANGE, 0), ("extract", f"{STRANGE}?", 2)):
        command = [sys.executable, PIPELINES / f"{program}.py", "--data", data]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True)
        assert done.returncode == code
        said = done.stdout + done.stderr
        assert rb"a\x1b[2J" in said
        assert b"\x1b" not in said
        assert b"\r" not in said
