"""Settings: every one has a range and a text, the order is defaults < TOML < flags, and no typo passes in silence."""

import ast
import inspect
import os
import re
import subprocess
import sys
from dataclasses import fields, replace
from itertools import groupby, pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from headstart.cache.finding import cache_path
from headstart.cli import PROGRAMS, parse
from headstart.errors import SettingsError
from headstart.runs.folder import identity, run_folder
from headstart.settings import (
    PLACES,
    CompareConfig,
    ExtractConfig,
    FinetuneConfig,
    HeadConfig,
    LearningCurveConfig,
    PredictConfig,
    ProbeConfig,
    SweepConfig,
)
from headstart.settings.base import dataset_name

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "pipelines/configs").glob("*.toml"))


@pytest.fixture
def toml(tmp_path):
    """Writes a settings file; returns the flag that names it."""

    def write(text: str) -> list[str]:
        path = tmp_path / "settings.toml"
        path.write_text(text, encoding="utf-8")
        return ["--config", str(path)]

    return write


def test_flags_win_over_the_file_and_the_file_over_the_defaults(toml):
    config = parse(HeadConfig, [*toml("lr = 0.5\ndropout = 0.25"), "--lr", "0.125"])
    assert (config.lr, config.dropout, config.epochs) == (0.125, 0.25, 10)


def test_a_tilde_is_the_home_folder_in_every_path(toml, monkeypatch):
    """On the command line (`--data=~/photos`, which no shell expands), in TOML files and in Python."""
    monkeypatch.setenv("HOME", "/home/me")
    flags = toml('data = "~/photos"\ncache = "~/a.h5"')
    assert parse(ExtractConfig, flags).data == "/home/me/photos"
    assert parse(ExtractConfig, [*flags, "--data=~/pets", "--weights", "~/w.pth"]).data == "/home/me/pets"
    assert parse(ExtractConfig, flags).cache == Path("/home/me/a.h5")
    assert CompareConfig(runs=Path("~/runs")).runs == Path("/home/me/runs")
    assert FinetuneConfig(weights="~/w.pth", init_head=Path("~/run")).weights == "/home/me/w.pth"
    assert ExtractConfig(data="photos/~/x~").data == "photos/~/x~"


def test_a_programs_own_table_wins_over_shared_keys_wherever_it_stands(toml):
    flags = toml("epochs = 3\nlr = 0.5\n[head]\nepochs = 7\n[finetune]\nepochs = 9")
    assert parse(HeadConfig, flags).epochs == 7
    assert parse(FinetuneConfig, flags).epochs == 9
    assert parse(FinetuneConfig, flags).lr == 0.5


def test_a_shared_key_of_another_program_does_not_stop_this_one(toml):
    flags = toml('image_px = 64\nhidden = [8]\ndata = "photos"')
    assert parse(HeadConfig, flags).hidden == (8,)
    assert parse(ExtractConfig, flags).image_px == 64
    assert parse(CompareConfig, flags).data == "photos"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rate = 1", "unknown setting 'learning_rate'"),
        ("epoch = 1", r"unknown setting 'epoch'\. Did you mean epochs\?"),
        ("lr = 1\n[heads]\nlr = 1", r"unknown table \[heads\]; there are .*head.* Did you mean head\?"),
        ("[head]\nimage_px = 64", r"unknown setting 'image_px' in \[head\]"),
        ("[head]\nbatchsize = 64", r"unknown setting 'batchsize' in \[head\]\. Did you mean batch_size\?"),
        ('config = "digits"', "unknown setting 'config'"),
        ("image-px = 64", r"unknown setting 'image-px'\. Did you mean image_px\?"),
        ("head = 3", "unknown setting 'head'"),
        ("lr = ", "is not TOML"),
        ("lr = 1\nlr = 2", "is not TOML"),
        ("[head]\ndropout = 1.0", r"--dropout is 1.0, but must be in \[0, 1\)"),
    ],
)
def test_what_a_file_gets_wrong_is_named(toml, text, message):
    with pytest.raises(SettingsError, match=message):
        parse(HeadConfig, toml(text))


def test_a_file_with_a_byte_order_mark_is_read(tmp_path):
    """As editors on Windows write it."""
    (tmp_path / "a.toml").write_bytes(b"\xef\xbb\xbf[head]\r\nepochs = 7\r\n")
    assert parse(HeadConfig, ["--config", str(tmp_path / "a.toml")]).epochs == 7


def test_a_file_that_is_not_text_is_named(tmp_path):
    (tmp_path / "a.toml").write_bytes(b"data = '\xff'")
    with pytest.raises(SettingsError, match=r"a\.toml is not TOML"):
        parse(HeadConfig, ["--config", str(tmp_path / "a.toml")])


def test_an_unknown_config_lists_the_known_ones(monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(SettingsError, match=r"nothing\.toml.*cifar10, digits"):
        parse(HeadConfig, ["--config", "nothing"])
    with pytest.raises(SettingsError, match=r"Did you mean cifar10\?"):
        parse(HeadConfig, ["--config", "cifar"])


@pytest.mark.parametrize(
    ("program", "flags"),
    [
        (ExtractConfig, ["--image-px", "7"]),
        (ExtractConfig, ["--backbone", " "]),
        (ExtractConfig, ["--batch-size", "0"]),
        (ExtractConfig, ["--workers", "-1"]),
        (ExtractConfig, ["--max-unreadable", "1.1"]),
        (ExtractConfig, ["--max-unreadable", "nan"]),
        (ExtractConfig, ["--seed", "-1"]),
        (ExtractConfig, ["--seed", str(2**64)]),
        (HeadConfig, ["--hidden", "256", "0"]),
        (HeadConfig, ["--dropout", "1"]),
        (HeadConfig, ["--dropout", "nan"]),
        (HeadConfig, ["--lr", "0"]),
        (HeadConfig, ["--weight-decay", "-0.1"]),
        (HeadConfig, ["--epochs", "0"]),
        (HeadConfig, ["--batch-size", "0"]),
        (HeadConfig, ["--seed", str(10**80)]),
        (HeadConfig, ["--warmup", "1"]),
        (HeadConfig, ["--label-smoothing", "1"]),
        (SweepConfig, ["--hidden", "8", "8,0"]),
        (SweepConfig, ["--dropout", "0", "1"]),
        (SweepConfig, ["--lr", "1", "0"]),
        (SweepConfig, ["--weight-decay", "-0.1"]),
        (SweepConfig, ["--warmup", "0", "1"]),
        (SweepConfig, ["--label-smoothing", "1"]),
        (SweepConfig, ["--epochs", "1", "0"]),
        (SweepConfig, ["--batch-size", "0"]),
        (SweepConfig, ["--seed", "0", "-1"]),
        (SweepConfig, ["--optimizer"]),
        (ProbeConfig, ["--methods"]),
        (LearningCurveConfig, ["--fractions"]),
        (LearningCurveConfig, ["--fractions", "0.5", "0"]),
        (LearningCurveConfig, ["--fractions", "1.01"]),
        (LearningCurveConfig, ["--fractions", "nan"]),
        (LearningCurveConfig, ["--seeds", "0"]),
        (LearningCurveConfig, ["--epochs", "0"]),
        (FinetuneConfig, ["--image-px", "0"]),
        (FinetuneConfig, ["--batch-size", "1"]),
        (FinetuneConfig, ["--subset", "1"]),
        (FinetuneConfig, ["--epochs", "-3"]),
        (FinetuneConfig, ["--lr", "-1"]),
        (FinetuneConfig, ["--workers", "-2"]),
        (FinetuneConfig, ["--seed", "-1"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value.__name__,
)
def test_a_value_out_of_range_is_refused_by_the_name_of_its_flag(program, flags):
    with pytest.raises(SettingsError, match=f"^{flags[0]} is .* but must be "):
        parse(program, flags)


@pytest.mark.parametrize(
    ("program", "flags", "answer"),
    [
        (HeadConfig, "--hiden 3 4", "There is no flag --hiden here. Did you mean --hidden 3 4?"),
        (HeadConfig, "--learning-rate=3", "no flag --learning-rate here. Did you mean --lr 3?"),
        (HeadConfig, "--learning_rate 3", "no flag --learning_rate here. Did you mean --lr 3?"),
        (HeadConfig, "-lr 3", "no flag -lr here. Did you mean --lr 3?"),
        (ExtractConfig, "--no-overwite", "no flag --no-overwite here. Did you mean --overwrite?"),
        (HeadConfig, "--wd 3", "Did you mean --weight-decay 3?"),
        (FinetuneConfig, "--bs 3", "Did you mean --batch-size 3?"),
        (FinetuneConfig, "--img_size 64", "Did you mean --image-px 64?"),
        (FinetuneConfig, "--num-workers 64", "Did you mean --workers 64?"),
        (HeadConfig, "--image-px 64", "There is no flag --image-px here. extract, finetune take --image-px 64."),
        (HeadConfig, "--imagepx 64", "There is no flag --imagepx here. extract, finetune take --image-px 64."),
        (ProbeConfig, "--qqqqqq 64", "There is no flag --qqqqqq here. See --help."),
        (ExtractConfig, "--layout split", "of auto, classes, splits. Did you mean --layout splits?"),
        (ExtractConfig, "--resize=sqash", "--resize is sqash, but must be one of crop, squash. Did you mean"),
        (HeadConfig, "--normalize l3", "--normalize is l3, but must be one of standardize, l2, none."),
        (ExtractConfig, "--device gpu", "Did you mean --device cuda?"),
        (FinetuneConfig, "--model resnet18", "Did you mean --backbone resnet18?"),
        (PredictConfig, "--model data/runs/a/best", "Did you mean --run data/runs/a/best?"),
        (HeadConfig, "epochs=3", "epochs=3 is no flag: flags begin with --. Did you mean --epochs 3?"),
        (HeadConfig, "--lr 1e-3 epochs=3", "epochs=3 is no flag: flags begin with --. Did you mean --epochs 3?"),
        (HeadConfig, "3 --lr 1", "3 is no flag: flags begin with --."),
        (HeadConfig, "--lr abc", "--lr is abc, but must be a number."),
        (HeadConfig, "--epochs 1.5", "--epochs is 1.5, but must be a whole number."),
        (HeadConfig, "--views some", "--views is some, but must be a whole number or all."),
        (HeadConfig, "--hidden 256,128", "--hidden is 256,128, but must be whole numbers with spaces between them."),
        (SweepConfig, "--lr 1e-3 x", "--lr is x, but must be numbers with spaces between them."),
        (HeadConfig, "--lr 1 --epochs", "--epochs needs a value, such as --epochs 10."),
        (ExtractConfig, "--data", "--data needs a value."),
        (ExtractConfig, "--root my images", "--root takes one value, and 2 are given: my images."),
        (ExtractConfig, "--overwrite yes", "--overwrite takes no value, and yes is given: leave that out."),
        (ProbeConfig, "--methods knn rigde", "of the words logistic, ridge, knn. Did you mean --methods ridge?"),
        (ProbeConfig, "--methods svm", "of the words logistic, ridge, knn."),
    ],
)
def test_a_mistake_in_a_flag_or_its_word_is_answered_with_the_nearest_right_one(program, flags, answer):
    with pytest.raises(SettingsError) as error:
        parse(program, flags.split())
    assert answer in str(error.value)


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (HeadConfig(), "head-7774ecff"),
        (SweepConfig(), "sweep-1dfc6581"),
        (LearningCurveConfig(), "learning-curve-2de4812a"),
        (ProbeConfig(methods=("knn",)), "knn-5cb2c588"),
        (FinetuneConfig(backbone_lr=1e-4).completed(), "finetune-076f7ff5"),
    ],
)
def test_run_folders_keep_their_names(config, name):
    """Otherwise runs of earlier versions would not be recognized, and would be trained again."""
    assert run_folder(Path("runs"), "photos", name.rpartition("-")[0], identity(config)).name == name


# --- many heads ---

DECIDING = {field.name for field in fields(HeadConfig)} - PLACES


def sweep(**values):
    """The default of each setting of a head alone, but for those that are given."""
    alone = {name: (getattr(HeadConfig(), name),) for name in DECIDING} | {
        "hidden": ("256",),
        "tta": 0,
        "select": "accuracy",
    }
    return SweepConfig(**{**alone, **values})


def test_a_sweep_has_every_setting_of_a_head_and_where_it_lies():
    assert {field.name for field in fields(SweepConfig)} == {field.name for field in fields(HeadConfig)} | {"halving"}


@pytest.mark.parametrize(("word", "widths"), [("none", ()), ("256", (256,)), ("512,256", (512, 256))])
def test_widths_are_words_in_a_sweep(word, widths):
    (head,) = sweep(hidden=(word,), dropout=(0.1,)).heads()
    assert head == HeadConfig(hidden=widths, dropout=0.1)


@pytest.mark.parametrize("word", ["abc", "", "8,", "8;8", "8.5", "None"])
def test_a_word_that_is_no_list_of_widths_is_refused(word):
    with pytest.raises(SettingsError, match=r"^--hidden .*is not a list of widths"):
        sweep(hidden=(word,))


@pytest.mark.parametrize("name", sorted(DECIDING - {"hidden", "tta", "select"}))
def test_every_value_of_every_setting_has_heads(name):
    choices = {
        "optimizer": ("adam", "adamw"),
        "schedule": ("constant", "cosine"),
        "class_weights": ("none", "balanced"),
        "normalize": ("standardize", "l2", "none"),
        "epochs": (1, 2),
        "batch_size": (1, 2),
        "seed": (4, 5),
        "views": (0, "all"),
    }
    values = choices.get(name, (0.25, 0.5))
    heads = sweep(hidden=("8", "16"), **{name: values}).heads()
    assert [(head.hidden, getattr(head, name)) for head in heads] == [
        ((w,), value) for w in (8, 16) for value in values
    ]


@given(sizes=st.lists(st.integers(1, 3), min_size=5, max_size=5), linear=st.booleans(), hidden=st.integers(0, 2))
def test_heads_are_all_combinations_each_once_and_dropout_does_not_multiply_linear_ones(sizes, linear, hidden):
    """Without a hidden layer there is nothing to drop."""
    if not (linear or hidden):
        return
    rates, decays, seeds, dropouts, epochs = (tuple(range(1, size + 1)) for size in sizes)
    words = ("none",) * linear + tuple(str(8 * (place + 1)) for place in range(hidden))
    dropouts = tuple(value / 10 for value in dropouts)
    config = sweep(hidden=words, lr=rates, weight_decay=decays, seed=seeds, dropout=dropouts, epochs=epochs)
    heads, others = config.heads(), len(rates) * len(decays) * len(seeds) * len(epochs)
    assert len(heads) == len(set(heads)) == others * (linear + hidden * len(dropouts))
    groups = [replace(head, seed=0) for head in heads]
    assert len(list(groupby(groups))) == len(set(groups))  # seeds of one setting lie side by side


def test_a_value_given_twice_counts_once():
    assert len(sweep(lr=(1e-3, 0.001), hidden=("8", "8")).heads()) == 1


def test_the_sweep_of_the_defaults_contains_the_default_head():
    heads = SweepConfig().heads()
    assert HeadConfig() in heads
    assert len(heads) == (1 + 2) * 4 * 2 * 3


@pytest.mark.parametrize(
    ("halving", "settings", "expected"),
    [("on", 2, True), ("off", 20, False), ("auto", 7, False), ("auto", 8, True)],
)
def test_halving_starts_by_itself_at_eight_settings_however_many_seeds_there_are(halving, settings, expected):
    config = sweep(lr=tuple(range(1, settings + 1)), seed=tuple(range(5)), halving=halving)
    assert config.halves() is expected


def test_lists_of_a_sweep_come_from_a_file_and_from_flags(toml):
    flags = toml('[sweep]\nhidden = ["none", "512,256"]\nlr = [1e-3, 1e-2]\nseed = [7]')
    config = parse(SweepConfig, [*flags, "--lr", "0.5", "0.25"])
    assert (config.hidden, config.lr, config.seed) == (("none", "512,256"), (0.5, 0.25), (7,))


def test_a_learning_curve_is_a_head_with_fractions_and_seeds(toml):
    config = parse(LearningCurveConfig, [*toml("lr = 0.5\n[learning_curve]\nseeds = 2"), "--fractions", "0.5", "1"])
    assert (config.lr, config.seeds, config.fractions) == (0.5, 2, (0.5, 1.0))


def test_a_probe_knows_three_methods():
    assert parse(ProbeConfig, ["--methods", "knn", "ridge"]).methods == ("knn", "ridge")


# --- lists, names, files ---


@given(st.lists(st.integers(1, 5000), max_size=4))
@hypothesis_settings(max_examples=15, deadline=None)
def test_a_list_means_the_same_in_a_file_and_as_flags(tmp_path_factory, widths):
    path = tmp_path_factory.mktemp("toml") / "a.toml"
    path.write_text(f"hidden = {widths}")
    from_file = parse(HeadConfig, ["--config", str(path)])
    from_flags = parse(HeadConfig, ["--hidden", *map(str, widths)])
    assert from_file.hidden == from_flags.hidden == tuple(widths)


def test_hidden_without_numbers_is_a_linear_probe_even_over_a_file(toml):
    assert parse(HeadConfig, ["--hidden"]).hidden == ()
    assert parse(HeadConfig, ["--hidden", "--lr", "0.5"]).hidden == ()
    assert parse(HeadConfig, [*toml("hidden = [64, 32]"), "--hidden"]).hidden == ()


def test_a_switch_can_be_set_in_a_file_and_taken_back_by_a_flag(toml):
    flags = toml("overwrite = true\ncheck_bytes = false")
    assert parse(ExtractConfig, flags).overwrite
    assert not parse(ExtractConfig, flags).check_bytes
    assert not parse(ExtractConfig, [*flags, "--no-overwrite"]).overwrite


def test_names_with_spaces_and_umlauts_come_through_a_file(toml):
    config = parse(ExtractConfig, toml('data = "Meine Fötos 猫"\ncache = "a b.h5"'))
    assert config.data == "Meine Fötos 猫"
    assert config.cache == Path("a b.h5")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
@pytest.mark.parametrize("name", PROGRAMS)
def test_every_shipped_config_works_for_every_program(name, path, monkeypatch):
    monkeypatch.chdir(ROOT)
    config = parse(PROGRAMS[name], ["--config", path.stem])
    assert getattr(config, "data", f"data/{path.stem}") == f"data/{path.stem}"
    assert path.read_text().startswith("# "), "a config opens with what it is and the command"
    assert f"CONFIG={path.stem}" in path.read_text() or "make demo" in path.read_text()


def test_the_digits_config_says_openly_that_its_weights_are_random():
    text = (ROOT / "pipelines/configs/digits.toml").read_text()
    assert re.search(r"^#.*random: untrained", text, re.MULTILINE)
    config = parse(ExtractConfig, ["--config", str(ROOT / "pipelines/configs/digits.toml")])
    assert (config.weights, config.image_px) == ("random", 64)


@pytest.mark.parametrize("name", PROGRAMS)
def test_help_explains_every_setting(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as stopped:
        parse(PROGRAMS[name], ["--help"])
    assert stopped.value.code == 0
    shown = re.sub(r"[\s│]+", " ", capsys.readouterr().out)
    bodies = [ast.parse(inspect.getsource(type_)).body[0].body for type_ in PROGRAMS[name].__mro__[-2::-1]]
    texts = {
        line.target.id: below.value.value
        for body in bodies
        for line, below in pairwise(body)
        if isinstance(line, ast.AnnAssign) and isinstance(below, ast.Expr)
    }
    for field in fields(PROGRAMS[name]):
        assert f"--{field.name.replace('_', '-')}" in shown
        assert re.sub(r"\s+", " ", texts[field.name])[:30] in shown


def test_settings_and_command_lines_load_without_torch_numpy_or_h5py():
    """`--help` answers in well under a second because of it."""
    code = "import sys, headstart.cli; print({'torch', 'numpy', 'h5py', 'PIL'} & set(sys.modules))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("data", "name"),
    [("photos", "photos"), ("a/photos/", "photos"), ("./photos", "photos"), ("a/pets.csv", "pets"), ("P.CSV", "P")],
)
def test_features_are_kept_under_the_name_of_their_data(data, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cache_path(ExtractConfig(data=data)) == Path(f"data/features/{name}.h5")
    assert cache_path(HeadConfig(data=data)) == Path(f"data/features/{name}.h5")


@pytest.mark.parametrize("data", [".", "..", "photos/.."])
def test_a_folder_given_by_dots_still_has_a_name(data, tmp_path, monkeypatch):
    (tmp_path / "outer" / "photos").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "outer" / ("photos" if data == ".." else ""))
    assert dataset_name(data) == "outer"


def test_a_cache_that_is_named_wins_and_none_named_says_what_to_give():
    assert cache_path(HeadConfig(cache=Path("x.h5"), data="photos")) == Path("x.h5")
    with pytest.raises(SettingsError, match=r"--data.*--config digits"):
        cache_path(HeadConfig())
