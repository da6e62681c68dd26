"""The documents promise nothing that is not there: links, targets, flags, names, formats, and the lines of Python."""

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from helpers.caches import make_cache
from helpers.cards import card_of, code, facts, metrics
from helpers.pictures import picture
from helpers.processes import ran
from torchvision.models import get_model, get_model_weights

import headstart
from headstart.api import extract, train_head
from headstart.cli import PROGRAMS, parse, read_toml
from headstart.prediction.classifier import Classifier

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src/headstart"
PAGES = {
    path: path.read_text(encoding="utf-8")
    for path in (
        *ROOT.glob("*.md"),
        ROOT / "data/README.md",
        *(path for folder in ("pipelines", "src", "tests") for path in (ROOT / folder).rglob("*.md")),
    )
}
README = PAGES[ROOT / "README.md"]
CODE = PAGES[SOURCE / "README.md"]
ALL = "\n".join(PAGES.values())
BLOCKS = re.findall(r"```python\n(.*?)```", ALL, re.DOTALL)
MAKEFILE = (ROOT / "Makefile").read_text()
FLAG = r"(?<![\w-])--[a-z][a-z0-9-]*"
OF_TORCHRUN = {"--nnodes", "--nproc-per-node", "--node-rank", "--master-addr", "--master-port"}
OF_SLURM = {"--array", "--gres"}


def flags_of(program: type) -> set[str]:
    return {f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(program)} | {"--help"}


def settings_of(program: str) -> type:
    """The settings that a file in pipelines/ reads."""
    (name,) = re.findall(r"cli\.run\(main, (\w+)", (ROOT / f"pipelines/{program}.py").read_text())
    return next(settings for settings in PROGRAMS.values() if settings.__name__ == name)


def prose(page: str) -> str:
    """A page without its code."""
    return re.sub(r"`[^`]*`", "", re.sub(r"```.*?```", "", page, flags=re.DOTALL))


def anchors(page: str) -> set[str]:
    """What GitHub makes of the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", page, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def table(page: str, header: str) -> list[list[str]]:
    """The cells of the table below a header line, without code marks."""
    lines = page.split(f"{header}\n", 1)[1].splitlines()[1:]
    rows = lines[: next(number for number, line in enumerate(lines) if not line.startswith("|"))]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_and_anchor_leads_somewhere(path):
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(PAGES[path])):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(PAGES[target]), link


def test_it_says_what_is_promised_against_strangers_and_how_to_report():
    security = (ROOT / "src/headstart/README.md").read_text().split("\n## Security\n", 1)[1].split("\n## ")[0]
    for words in (
        "**What is promised**",
        "**What is not promised**",
        "weights_only",
        "Decoders are not ours",
        "How to report",
    ):
        assert words in security


def test_the_table_of_backbones_has_the_figures_that_torchvision_publishes_and_make_help_prints_it():
    rows = table(README, "| name | D | GFLOPs | top-1 |")
    helped = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(rows) == 10
    for cell, features, gflops, top1 in rows:
        name = cell.split("`")[1]
        weights = next(iter(get_model_weights(name)))
        assert weights.name == "IMAGENET1K_V1"
        assert float(gflops) == weights.meta["_ops"]
        assert float(top1) == weights.meta["_metrics"]["ImageNet-1K"]["acc@1"]
        (line,) = [line.split() for line in helped if line.startswith(f"  {name} ")]
        assert line[-6:] == ["D", features, gflops, "GFLOPs", "top-1", f"{top1}%"]
        if not name.startswith("regnet"):  # which cannot be built without memory
            with torch.device("meta"):
                layers = [layer for layer in get_model(name).modules() if isinstance(layer, torch.nn.Linear)]
            assert int(features) == layers[-1].in_features


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 200


def test_make_test_is_the_command_of_the_readme_and_ci_runs_make_check():
    assert "\n    make test\n" in README
    assert "make check" in (ROOT / ".ci/run").read_text()


def test_every_target_is_in_the_readme_and_every_one_named_exists():
    targets = set(re.search(r"^TARGETS += (.*)", MAKEFILE, re.MULTILINE)[1].split())
    assert set(re.findall(r"`make ([a-z-]+)", README)) >= targets - {"lint", "types"}
    assert set(re.findall(r"(?:`|^    )make ([a-z][a-z-]*)", ALL, re.MULTILINE)) <= targets


def test_every_variable_that_is_named_is_one_of_the_makefile():
    named = set(re.findall(r"\b([A-Z][A-Z_]+)=", ALL)) | set(re.findall(r"\b[A-Z]+_ARGS\b", ALL))
    assert "EXTRACT_ARGS" in named
    assert [name for name in named if not re.search(rf"\$(\(|\$){name}\b", MAKEFILE)] == []


def test_every_flag_that_is_named_exists():
    known = set().union(*map(flags_of, PROGRAMS.values())) | OF_TORCHRUN | OF_SLURM
    assert set(re.findall(FLAG, ALL)) <= known


def test_flags_given_through_make_are_read_by_their_program():
    program_of = {name: program for program, name in re.findall(r"pipelines/(\w+)\.py .*\$\((\w+_ARGS)\)", MAKEFILE)}
    given = set(re.findall(r"(\w+_ARGS)=(?:\"([^\"]*)\"|(--\S*?)[`\s])", ALL))
    assert len(given) > 10
    for name, quoted, word in given:
        assert parse(settings_of(program_of[name]), (quoted or word).split())


def test_flags_given_to_a_program_are_its_flags():
    called = re.findall(r"pipelines/(\w+)\.py (.*)", ALL)
    assert called
    for program, words in called:
        assert set(re.findall(FLAG, words)) <= flags_of(settings_of(program)), (program, words)


def test_every_program_has_a_section():
    programs = {path.name for path in (ROOT / "pipelines").glob("*.py")}
    assert {f"## {name}" for name in programs} <= set(PAGES[ROOT / "pipelines/README.md"].splitlines())


def test_the_settings_file_of_the_example_is_read(tmp_path):
    (lines,) = re.findall(r"```toml\n(.*?)```", ALL, re.DOTALL)
    (tmp_path / "my.toml").write_text(lines)
    assert read_toml(str(tmp_path / "my.toml"), PROGRAMS["head"])[-5:] == ["--hidden", "512", "256", "--epochs", "20"]
    tables = re.search(r"Tables\s+are\s+(.*?)\.\s+An\s+unknown", ALL, re.DOTALL)[1]
    assert set(re.findall(r"`(\w+)`", tables)) == set(PROGRAMS)


def test_every_folder_is_described_and_imports_only_folders_above_it():
    names = [re.sub(r"[`/]|\.py", "", row[0]) for row in table(CODE, "| folder | what it does | what it never does |")]
    parts = [*SOURCE.glob("*/__init__.py"), *SOURCE.glob("[!_]*.py")]
    assert sorted(names) == sorted(path.parent.name if path.stem == "__init__" else path.stem for path in parts)
    for place, name in enumerate(names):
        files = (SOURCE / name).rglob("*.py") if (SOURCE / name).is_dir() else [SOURCE / f"{name}.py"]
        imported = {
            found for file in files for found in re.findall(r"(?:from|import) headstart\.(\w+)", file.read_text())
        }
        assert imported <= set(names[: place + 1]), name


def test_every_file_that_is_named_exists():
    named = set(re.findall(r"`([\w/]+\.(?:py|jinja|html\.jinja|md\.jinja))`", CODE))
    assert [name for name in named if not ((SOURCE / name).is_file() or (ROOT / name).is_file())] == []


def test_what_to_change_is_where_the_table_says():
    changes = table(CODE, "| you want to change | file | look for |")
    story = re.findall(r"(`[\w/]+\.py`):\s+((?:`[\w.]+`(?:,\s+|\s+and\s+)?)+)", CODE)
    for file, names in [*((file, names) for _, file, names in changes), *story]:
        content = (SOURCE / file.strip("`")).read_text()
        words = re.findall(r"`([A-Za-z_.]+)`(?! in `)", names.split(":")[0])
        assert [word for word in words if "/" not in word and word.split(".")[-1] not in content] == [], file


def test_the_format_of_a_cache_is_as_described(tmp_path):
    make_cache(tmp_path / "a.h5", [0, 1, 0, 1], [0, 0, 1, 2], views=1)
    datasets = {row[0].strip("`"): row for row in table(CODE, "| dataset | shape | type | meaning |")}
    attributes = re.findall(r"`(\w+)`", " ".join(row[0] for row in table(CODE, "| attribute | type | meaning |")))
    with h5py.File(tmp_path / "a.h5") as file:
        columns = {name: dataset for name, dataset in file.items() if isinstance(dataset, h5py.Dataset)}
        others = {"offsets", "inodes", "ctimes_ns", "groups", "drawn_splits", "drawn_checksum", "view_1"}
        assert columns.keys() | others == datasets.keys() | {*file}
        assert sorted([*file.attrs, "listing", "weights_file"]) == sorted(attributes)
        for name, column in columns.items():
            assert column.dtype.name in datasets[name][2] or column.dtype.kind == "S", name
            assert column.shape == tuple(
                {"N": 4, "D": 2048}.get(word) or int(word) for word in re.findall(r"\w+", datasets[name][1])
            ), name
        assert all(
            f"`{name}`" in re.split(r"is\s+the\s+group\s+`view_1`", CODE)[1].split("\n\n")[0] for name in file["view_1"]
        )


def test_the_public_names_in_the_readme_are_those_that_can_be_imported():
    first_column = "".join(re.findall(r"^\| .*? \|", README, re.MULTILINE))
    assert sorted(re.findall(r"`headstart\.(\w+)`", first_column)) == sorted(headstart.__all__)
    assert set(re.findall(r"headstart\.(\w+)\(", ALL)) <= set(headstart.__all__)


@pytest.mark.parametrize("form", ["pt2", "onnx"])
def test_the_lines_that_serve_a_model_are_those_of_its_card(form):
    assert code(card_of(facts(format=form), metrics())) in BLOCKS


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for place, name in enumerate(("cat", "dog")):
        for split in ("train", "val", "test"):
            (folder / "photos" / split / name).mkdir(parents=True)
            for number in range(4):
                image = picture(1000 * place + 100 * len(split) + number, (50, 40))
                image.save(folder / "photos" / split / name / f"{number}.png")
    (folder / "new").mkdir()
    for number, name in enumerate(("a", "b")):
        picture(5000 + number, (60, 44)).save(folder / "new" / f"{name}.jpg")
    return folder


def test_the_lines_of_python_lead_from_a_folder_to_predictions(photos, monkeypatch, capsys):
    """As they stand, but with a net that need not be downloaded."""
    (lines,) = [block for block in BLOCKS if "Classifier.load" in block]
    assert len(lines.splitlines()) < 15
    monkeypatch.chdir(photos)
    small = lines.replace('extract("photos/")', 'extract("photos/", weights="random", image_px=32, precision="fp32")')
    assert small != lines
    names = {}
    exec(small, names)
    assert set(names["names"]) <= {"cat", "dog"}
    assert names["probabilities"].shape == (2, 2)
    assert str(names["names"]) in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(("form", "resize"), [("pt2", "crop"), ("onnx", "squash")])
def test_the_lines_of_a_card_serve_its_model_without_this_package_and_say_what_the_run_says(
    photos, form, resize, monkeypatch
):
    if form == "onnx":
        pytest.importorskip("onnxruntime")
    monkeypatch.chdir(photos)
    small = {"backbone": "resnet18", "weights": "random", "image_px": 32, "precision": "fp32"}
    extract("photos", cache=f"{resize}.h5", resize=resize, **small)
    run = train_head(cache=f"{resize}.h5", run=f"runs/{resize}", epochs=1)
    done = ran("export", "--run", run, "--format", form, "--images", "new", cwd=photos)
    assert f"model.{form}: " in done.out
    assert "checked on 2 images" in done.out
    exported = photos / run / form
    picture(7, (70, 43)).save(
        exported / "a.jpg", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    )
    lines = code((exported / "model_card.md").read_text())
    served = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"import sys; sys.modules['headstart'] = None\n{lines}"],
        cwd=exported,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    (name,), probabilities = Classifier.load(run).predict([exported / "a.jpg"])
    assert served[0] == name
    np.testing.assert_allclose(float(served[1]), probabilities.max(), atol=2e-3)  # the run's features are rounded
