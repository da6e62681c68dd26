"""Messages that speak of flags and commands speak of arguments and functions in Python."""

import shlex

import pytest

from headstart.errors import CacheError, DataError, HeadstartError, SettingsError, TrainingFailed, WeightsError
from headstart.settings.command import command
from headstart.settings.wording import for_make, for_python, in_python


@pytest.mark.parametrize(
    ("on_command_line", "expected"),
    [
        ("Try a lower --lr, or --normalize standardize.", "Try a lower lr=, or normalize='standardize'."),
        ("Make one with: make extract DATA=…", "Make one with: headstart.extract(data=…)"),
        ("Extract again with EXTRACT_ARGS=--overwrite, or", "Extract again with overwrite=True, or"),
        ("name another file with CACHE=…", "name another file with cache=…"),
        ("Extract again with --overwrite.", "Extract again with overwrite=True."),
        ("the same with --no-compile-it off", "the same with compile_it= off"),
        ('make extract EXTRACT_ARGS="--view-splits all"', "headstart.extract(view_splits='all')"),
        ("Finish them with make extract, or --views 0.", "Finish them with headstart.extract(…), or views=0."),
        (
            'make train-head DATA=a.b/c HEAD_ARGS="--hidden 8 4 --lr 3e-4"',
            "headstart.train_head(data='a.b/c', hidden=[8, 4], lr=3e-4)",
        ),
        (
            "give --weights file.pth, or --weights random (untrained)",
            "give weights='file.pth', or weights='random' (untrained)",
        ),
        ("on all 210: make cv DATA=photos FOLDS=3", "on all 210: headstart.cross_validate(data='photos', folds=3)"),
        ("--tta needs views", "tta= needs views"),
        ("More than --max-unreadable 1.0% are", "More than max_unreadable= 1.0% are"),
        ("Say which with --columns label=…", "Say which with columns='label=…'"),
        ("make sweeping changes; make info DATA=…", "make sweeping changes; make info data=…"),
        ("photos/--lr/a.jpg and a--lr stay", "photos/--lr/a.jpg and a--lr stay"),
    ],
)
def test_flags_become_arguments_and_targets_functions(on_command_line, expected):
    assert for_python(on_command_line) == expected
    assert for_python(expected) == expected


def test_an_error_says_one_thing_in_python_and_keeps_the_other_for_programs():
    @in_python()
    def fails():
        raise CacheError("Use --storage float32.")

    for _ in range(2):  # through two functions, too
        with pytest.raises(CacheError) as caught, in_python():
            fails()
        assert str(caught.value) == "Use storage='float32'."
        assert caught.value.on_command_line == "Use --storage float32."


def test_all_errors_have_one_root_and_are_value_errors():
    for kind in (SettingsError, DataError, WeightsError, CacheError, TrainingFailed):
        assert issubclass(kind, HeadstartError)
        assert issubclass(kind, ValueError)


@pytest.mark.parametrize("data", ["my photos", "it's", 'a "b"', "x; y", "$(z)", "plain"])
@pytest.mark.parametrize("here", [True, False])
def test_commands_with_any_name_become_calls(tmp_path, monkeypatch, data, here):
    """As `command` quotes them, with a Makefile at hand and without one."""
    monkeypatch.chdir(tmp_path)
    if here:
        (tmp_path / "Makefile").touch()
        (tmp_path / "pipelines").mkdir()
    said = for_python(f"Not there. Make it with: {command('extract', data, flags=['--image-px', '48'])}")
    assert said.startswith("Not there. Make it with: headstart.extract(data=")
    assert "image_px=48" in said
    assert repr(data) in said


@pytest.mark.parametrize("text", ["say 'it", 'HEAD_ARGS="--lr', "make extract DATA='x", "EXTRACT_ARGS='--root it''s'"])
def test_quotes_without_their_other_half_do_no_harm(text):
    assert for_python(text)


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A folder with the project's Makefile."""
    (tmp_path / "Makefile").touch()
    (tmp_path / "pipelines").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


FIELDS = {
    "head": {"lr", "views", "tta"},
    "extract": {"prune", "views", "layout", "columns", "suffixes", "storage", "weights", "lr"},
}


@pytest.mark.parametrize(
    ("message", "ways"),
    [
        ("Accept with --prune that rows are discarded.", 'EXTRACT_ARGS="--prune"'),
        ("Try a lower --lr.", 'HEAD_ARGS="--tta all --lr …"'),
        (
            "If they are splits, add --layout splits; else --layout classes.",
            'EXTRACT_ARGS="--layout splits" or EXTRACT_A',
        ),
        ("Say which with --columns path=…,label=…", 'EXTRACT_ARGS="--columns path=…,label=…"'),
        ("Say which with --columns path=1,label=2", 'EXTRACT_ARGS="--columns path=1,label=2"'),
        ("Add --weights 'my weights/a.pth'.", "EXTRACT_ARGS=\"--weights 'my weights/a.pth'\""),
        ("Use --storage float32.", 'EXTRACT_ARGS="--storage float32"'),
        ("Say which, such as --suffixes 'jpg'; or all.", 'EXTRACT_ARGS="--suffixes jpg"'),
        ("Learn from --views 0.", 'HEAD_ARGS="--tta all --views 0"'),
        ("Give --data (a folder), or --config digits to try it.", "DATA=… or CONFIG=…"),
        ("Say --weights a/b.pth or --weights a/b.pth", 'EXTRACT_ARGS="--weights a/b.pth"'),
        ("Add them: make extract DATA=a EXTRACT_ARGS='--views 8 --prune'", ""),
        ("Add them: python pipelines/extract.py --data=a --prune", ""),
        ("There is no --such flag.", ""),
        ("Leave --tta out.", ""),
    ],
)
def test_users_of_make_read_which_variable_takes_a_flag(message, ways, clone):
    lines = for_make(message, FIELDS, given=("--data=a b", "--tta", "all")).split("\n")
    assert lines[0] == message
    assert lines[1:] == [] if not ways else lines[1].startswith(f"With make: {ways}")


def test_the_variable_of_the_program_itself_comes_first(clone):
    said = for_make("No flag --weights. Did you mean --lr 3?", {"head": {"lr"}, "extract": {"weights"}})
    assert said.endswith('With make: HEAD_ARGS="--lr 3" or EXTRACT_ARGS="--weights …"')


def test_flags_of_verify_have_a_variable_of_their_own(clone):
    said = [for_make("Say --weights.", {"inspect": {"weights"}}, given) for given in ((), ("--verify",))]
    assert [line.partition("make: ")[2] for line in said] == ['INFO_ARGS="--weights …"', 'VERIFY_ARGS="--weights …"']


def test_where_there_is_no_makefile_a_message_stays_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert for_make("Accept with --prune.", FIELDS) == "Accept with --prune."


@pytest.mark.parametrize(
    ("message", "given", "expected"),
    [
        ("Add --root a/img", "--data=l.csv --columns path=2,label=3", '"--columns path=2,label=3 --root a/img"'),
        ("Add --root a/img", "--data l.csv --root b", '"--root a/img"'),
        ("Add --root a/img", "--data l.csv --seed=3 --config x.toml --out o", '"--seed 3 --out o --root a/img"'),
        ("Add --root a/img", "--lerning-rate 3", '"--root a/img"'),
        ("Did you mean --layout splits?", "--layout split", '"--layout splits"'),
        ("--columns lable=a is wrong. Did you mean --columns label=a?", "--columns lable=a", '"--columns label=a"'),
        ("Did you mean --layout splits?", "--backbone b --layout split", '"--layout splits"'),
        ("Add --ignore-case.", "--root 'my $x'", "'--root '\"'\"'my $$x'\"'\"' --ignore-case'"),
    ],
)
def test_the_flags_that_were_given_stay(message, given, expected, clone):
    fields = {"data_check": {"columns", "root", "seed", "out", "layout", "ignore_case", "data", "config"}}
    said = for_make(message, fields, shlex.split(given))
    assert said == f"{message}\nWith make: CHECK_ARGS={expected}"


def test_the_flags_of_another_program_stay_too(clone, monkeypatch):
    """make hands its variables to the programs."""
    monkeypatch.setenv("EXTRACT_ARGS", "--weights random --storage float16")
    said = for_make("Use --storage float32.", FIELDS, ["--lr", "3"])
    assert said.endswith('With make: EXTRACT_ARGS="--weights random --storage float32"')


def test_what_only_lists_have_is_not_advised_for_a_folder(clone):
    fields = {"data_check": {"columns", "root"}}
    (clone / "photos").mkdir()
    assert "With make" not in for_make("Give a list, and this folder as --root a/b.", fields, ["--data=photos"])
    assert "With make" in for_make("Give this folder as --root a/b.", fields, ["--data=photos.csv"])


@pytest.mark.parametrize(("program", "way"), [("head", 'HEAD_ARGS="--run …"'), ("predict", "RUN=…")])
def test_a_variable_is_named_only_where_make_uses_it(program, way, clone):
    assert for_make("Name another with --run.", {program: {"run"}}).endswith(f"With make: {way}")
