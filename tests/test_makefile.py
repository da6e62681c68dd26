"""The Makefile passes on what was asked for, to the program it was meant for, in the right order.

No program is run: in the place of Python stands a script that writes down what it was called with.
"""

import os
import re
from pathlib import Path

import pytest
from helpers.clones import bare_clone, calls_of, ready_clone, shell

ROOT = Path(__file__).parents[1]
ON_FEATURES = {
    "train-head": "train_head",
    "sweep": "sweep",
    "probe": "probe",
    "learning-curve": "learning_curve",
    "cv": "cv",
    "audit": "audit",
}
"""Targets and programs that learn from a cache."""


def make(*arguments: str, folder: Path = ROOT, code: int = 0) -> str:
    """What make prints."""
    done = shell(["make", "--no-print-directory", *arguments], folder)
    assert done.returncode == code, done.stdout
    return done.stdout


@pytest.fixture
def bare(tmp_path) -> Path:
    return bare_clone(tmp_path)


@pytest.fixture
def clone(tmp_path) -> Path:
    return ready_clone(tmp_path)


@pytest.fixture
def calls(clone):
    """From the words of a make command to its programs in their order, each with its name and its flags."""
    return lambda *arguments: calls_of(["make", "--no-print-directory", *arguments], clone)


@pytest.fixture
def programs(calls):
    """The same by the names of the programs, for commands that call each once."""
    return lambda *arguments: dict(calls(*arguments))


def targets() -> set[str]:
    listed = re.search(r"^TARGETS += (.*)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert listed
    return set(listed[1].split())


@pytest.mark.parametrize("target", ["extract", *ON_FEATURES, "finetune", "compare"])
def test_your_own_data_is_passed_on_without_the_settings_of_the_digits(target, programs):
    for flags in programs(target, "DATA=photos/").values():
        assert "--data=photos/" in flags
        assert not any("--config" in flag for flag in flags)


@pytest.mark.parametrize("target", ["data", "extract", *ON_FEATURES, "finetune", "compare"])
def test_without_arguments_the_digits_are_used(target, programs):
    found = programs(target)
    assert found
    for flags in found.values():
        assert "--config=digits" in flags
        assert not any("--data" in flag for flag in flags)


def test_a_config_and_data_can_be_given_together(programs):
    flags = programs("train-head", "CONFIG=cifar10", "DATA=my cifar")
    assert flags["extract"] == flags["train_head"] == ["--config=cifar10", "--data=my cifar"]


@pytest.mark.parametrize(("target", "program"), ON_FEATURES.items())
def test_what_learns_from_features_brings_the_cache_up_to_date_first(target, program, programs):
    assert list(programs(target)) == ["prepare_data", "extract", program]
    assert list(programs(target, "DATA=photos/")) == ["extract", program]


def test_fine_tuning_needs_the_data_but_no_cache(programs):
    assert list(programs("finetune")) == ["prepare_data", "finetune"]


def test_flags_reach_the_program_they_are_meant_for_and_no_other(programs):
    meant = {
        "EXTRACT": ("--image-px 96", "extract"),
        "HEAD": ("--lr 1e-4", "train_head"),
        "SWEEP": ("--hidden none 8", "sweep"),
        "PROBE": ("--methods knn", "probe"),
        "CURVE": ("--seeds 9", "learning_curve"),
        "CV": ("--methods ridge", "cv"),
        "AUDIT": ("--method knn", "audit"),
        "FINETUNE": ("--subset 50", "finetune"),
        "PREDICT": ("--workers 1", "predict"),
        "EXPORT": ("--weights w.pth", "export"),
    }
    targets = (*ON_FEATURES, "finetune", "predict", "export")
    given = (f"{name}_ARGS={flag}" for name, (flag, _) in meant.items())
    found = programs(*targets, *given)
    assert len(found) == 11
    for flag, program in meant.values():
        assert [name for name, flags in found.items() if flag in " ".join(flags)] == [program]


def test_the_pool_and_how_many_of_it_reach_the_choice(programs, clone):
    for pool in ("my pool", "new"):
        (clone / pool).mkdir()
    found = programs("choose", "DATA=photos/", "POOL=my pool/", "N=20", "CHOOSE_ARGS=--method logistic")
    assert list(found) == ["extract", "choose"]
    assert found["choose"] == ["--data=photos/", "--pool=my pool/", "--n=20", "--method", "logistic"]
    assert programs("choose", "CACHE=f.h5", "POOL=new/") == {"choose": ["--cache=f.h5", "--pool=new/"]}
    assert list(programs("choose", "CHOOSE_ARGS=--help")) == ["choose"]


def test_a_choice_without_a_pool_is_refused_before_the_pass(clone):
    assert "choose needs POOL=" in make("choose", "DATA=photos/", folder=clone, code=2)
    assert "POOL= is empty" in make("choose", "DATA=photos/", "POOL=", folder=clone, code=2)
    assert "--pool nowhere does not exist" in make("choose", "DATA=photos/", "POOL=nowhere", folder=clone, code=2)
    assert "--n is 0, but must be at least 1" in make(
        "choose", "DATA=photos/", "POOL=photos", "N=0", folder=clone, code=2
    )
    assert not (clone / "calls").exists()


def test_a_named_cache_is_written_and_read(programs):
    found = programs(*ON_FEATURES, "DATA=photos/", "CACHE=my features.h5")
    assert all("--cache=my features.h5" in found[program] for program in ("extract", *ON_FEATURES.values()))
    assert programs("finetune", "DATA=photos/", "CACHE=f.h5")["finetune"] == ["--data=photos/"]


@pytest.mark.parametrize(("target", "program"), ON_FEATURES.items())
def test_a_cache_that_is_named_alone_is_used_as_it_is(target, program, programs):
    """Neither the digits nor anything else is extracted into it."""
    assert programs(target, "CACHE=mine.h5") == {program: ["--cache=mine.h5"]}
    assert "extract" in programs(target, "CACHE=mine.h5", "CONFIG=digits")


@pytest.mark.parametrize("target", ["info", "verify", "compare"])
def test_a_cache_that_is_named_alone_is_looked_at(target, programs):
    (flags,) = programs(target, "CACHE=mine.h5").values()
    assert flags[0] == "--cache=mine.h5"


@pytest.mark.slow
@pytest.mark.parametrize("target", ON_FEATURES)
@pytest.mark.parametrize(
    ("flags", "answer"),
    [
        ("--leraning-rate 3", "--leraning-rate"),
        ("--normalize l3", "l3"),
        ("--memory-gb -1", "--memory-gb is -1.0, but must be 0 or more."),
    ],
)
def test_a_mistake_in_flags_is_answered_before_the_pass(target, flags, answer, clone):
    variables = ("HEAD_ARGS", "SWEEP_ARGS", "PROBE_ARGS", "CURVE_ARGS", "CV_ARGS", "AUDIT_ARGS")
    given = dict(zip(ON_FEATURES, variables, strict=True))[target]
    for source in ("DATA=photos/", "CONFIG=digits"):
        assert answer in make("-j4", target, source, f"{given}={flags}", folder=clone, code=2)
        assert not (clone / "calls").exists(), "no program has begun"


def test_a_mistake_in_a_settings_file_is_answered_before_the_pass(clone):
    (clone / "my.toml").write_text('data = "photos"\n[head]\ndropout = 2\n')
    assert "--dropout is 2.0" in make("train-head", "CONFIG=my.toml", folder=clone, code=2)
    assert not (clone / "calls").exists()


@pytest.mark.parametrize("number", ["x", "0", "-1", "", "07", "2'", "$(touch RAN)"])
def test_a_number_of_processes_that_is_none_is_refused(number, clone):
    said = make("extract", f"NPROC={number}", folder=clone, code=2)
    assert f"NPROC={number} is no number of processes: give 1 or more" in said
    assert sorted(path.name for path in clone.iterdir() if path.name in ("calls", "RAN")) == []


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize(
    ("target", "variable", "program"),
    [
        *((target, f"{name}_ARGS", program) for (target, program), name in zip(
            ON_FEATURES.items(), ("HEAD", "SWEEP", "PROBE", "CURVE", "CV", "AUDIT"), strict=True)),
        *(("extract", "EXTRACT_ARGS", "extract"), ("train-head", "EXTRACT_ARGS", "extract")),
        *(("finetune", "FINETUNE_ARGS", "finetune"), ("predict", "PREDICT_ARGS", "predict")),
    ],
)  # fmt: skip
def test_the_help_of_a_program_is_printed_once_and_nothing_else_is_done(target, variable, program, flag, calls):
    for source in ([], ["CONFIG=digits"], ["DATA=photos/"]):
        if target != "predict" or not source:
            ((called, flags),) = calls(target, *source, f"{variable}=--epochs 3 {flag}")
            assert (called, flags[-1]) == (program, flag)


def test_the_pass_knows_whether_another_program_follows_that_describes_the_cache():
    followed = "HEADSTART_FOLLOWED=1 .venv/bin/python pipelines/extract.py"
    assert followed in make("-n", "train-head", "DATA=photos/")
    assert followed not in make("-n", "extract", "DATA=photos/")
    assert followed not in make("-n", "extract", "train-head", "DATA=photos/")


def test_several_processes_fill_parts_or_are_started_by_torchrun(calls):
    assert [name for name, _ in calls("finetune", "DATA=a", "NPROC=2")] == ["--standalone"]
    ((_, words),) = calls("extract", "DATA=a", "NPROC=2", "PARTS=8")
    assert words == ["--data=a", "--parts=8", "--processes=2"]


@pytest.mark.parametrize("pipe", ["| head -1", "| true", "2>&1 | true"])
def test_a_reader_that_has_enough_of_the_help_is_no_error(pipe):
    done = shell(["bash", "-c", f"make help {pipe}; echo ${{PIPESTATUS[0]}}"], ROOT)
    assert done.stdout.replace("make help            list the targets\n", "") == "0\n"


NAMES = ["a b", "a'b", 'a"b', "a$b", "$(reboot)", "a`touch RAN`b", 'x"; touch RAN; "y', "a\nb", "-dash", "#a", "a*b"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_arrives_as_it_is_and_the_shell_runs_none_of_it(name, programs, clone):
    found = programs("train-head", "predict", f"DATA={name}", f"CACHE={name}.h5", f"RUN={name}", f"IMAGES={name}")
    assert found["extract"] == found["train_head"] == [f"--data={name}", f"--cache={name}.h5"]
    assert found["predict"] == [f"--run={name}", f"--images={name}", f"--cache={name}.h5"]
    assert not (clone / "RAN").exists()


def test_a_space_that_a_name_begins_with_arrives_though_make_takes_it_away(programs, clone):
    for name in (" lead", "both", " both", " it's"):
        (clone / name).mkdir()
    assert programs("extract", "DATA= lead")["extract"] == ["--data= lead"]
    assert programs("extract", "DATA=both")["extract"] == ["--data=both"]
    assert programs("extract", "DATA= it's")["extract"] == ["--data= it's"]


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["train-head", "data=photos/"], "There is no variable data: write DATA=… instead"),
        (["train-head", "HEAD_ARG=--lr 1"], "There is no variable HEAD_ARG: write HEAD_ARGS=… instead"),
        (["IMAGE_PX=160"], 'There is no variable IMAGE_PX: write EXTRACT_ARGS="--image-px …" or FINETUNE'),
        (["extract", "LEARNING_RATE=160"], 'There is no variable LEARNING_RATE: write HEAD_ARGS="--lr …" or SWEEP'),
        (["extract", "qqqq=160"], "There is no variable qqqq: there are DATA BACKBONE CACHE "),
        (["train_head"], "There is no target train_head: make train-head is the nearest"),
        (
            ["train-head", "DATA=photos/", "other/"],
            "other/ is no target. If it is your data, write DATA=other/ without a",
        ),
        (["train-head", "DATA", "other/"], "DATA is no target: write DATA=…, without spaces around the sign. other/"),
        (["report"], "There is no target report: make compare is the nearest"),
        (["evaluate"], "make compare is the nearest"),
        (["install"], "make setup is the nearest"),
        (["cross-validation"], "make cv is the nearest"),
        (["cv", "DATA=a", "FOLD=5"], "There is no variable FOLD: write FOLDS=… instead."),
        (["run"], "make demo is the nearest"),
        (["train-head", "EPOCHS=3"], 'There is no variable EPOCHS: write HEAD_ARGS="--epochs …" instead.'),
        (["train-head", "ARGS=--lr 1"], "write HEAD_ARGS=… instead."),
        (["train-head", "MODEL=resnet18"], "write BACKBONE=… instead."),
        (["predict", "MODEL=data/runs/photos/best"], "write RUN=… instead."),
        (["train-head", "WEIGHTS=random"], 'write EXTRACT_ARGS="--weights …" instead.'),
        (["help", "IMAGE=a"], "There is no variable IMAGE: write IMAGES=… instead"),
        (["help", "x$(touch RAN)=a"], "There is no variable"),
    ],
)
def test_a_word_that_make_does_not_know_is_answered_with_the_nearest_one(words, answer, clone):
    assert answer in make(*words, folder=clone, code=2)
    assert not (clone / "calls").exists()
    assert not (clone / "RAN").exists()


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (
            "sweep DATA=a HEAD_ARGS=--lr",
            "make sweep does not use HEAD_ARGS. It takes SWEEP_ARGS BACKBONE EXTRACT_ARGS VIEWS",
        ),
        ("train-head CACHE=f.h5 EXTRACT_ARGS=--prune", "EXTRACT_ARGS. CACHE= alone is used as it is: nothing is extr"),
        ("probe CACHE=f.h5 VIEWS=2", "make probe does not use VIEWS. CACHE= alone is used as it is"),
        ("train-head DATA=a RUN=r", "make train-head does not use RUN. It takes HEAD_ARGS BACKBONE EXTRACT_ARGS VIEWS"),
        ("probe DATA=a SEEDS=3", "make probe does not use SEEDS. It takes PROBE_ARGS"),
        ("probe DATA=a FOLDS=3", "make probe does not use FOLDS. It takes PROBE_ARGS"),
        (
            "cv DATA=a SEEDS=3",
            "make cv does not use SEEDS. It takes CV_ARGS BACKBONE EXTRACT_ARGS VIEWS NPROC PARTS RAY FOLDS",
        ),
        ("train-head IMAGES=a", "make train-head does not use IMAGES. It takes HEAD_ARGS"),
        ("compare DATA=a HEAD_ARGS=--lr", "make compare does not use HEAD_ARGS. It takes COMPARE_ARGS BACKBONE"),
        ("predict RUN=r FORMAT=onnx", "make predict does not use FORMAT. It takes PREDICT_ARGS RUN IMAGES CACHE RAY"),
        ("predict RUN=r DATA=new/", "make predict does not use DATA. It takes PREDICT_ARGS RUN IMAGES CACHE RAY"),
        ("export DATA=photos/", "make export does not use DATA. It takes EXPORT_ARGS RUN IMAGES FORMAT"),
        ("info DATA=photos/ NPROC=2", "make info does not use NPROC. It takes INFO_ARGS BACKBONE"),
        ("clean FORCE=1", "make clean does not use FORCE. It takes no flags"),
    ],
)
def test_a_variable_that_the_target_does_not_use_is_refused(words, answer, clone):
    assert answer in make(*words.split(), folder=clone, code=2)
    assert not (clone / "calls").exists()


@pytest.mark.parametrize("target", ["train-head", "sweep", "learning-curve", "finetune"])
def test_the_number_of_seeds_has_a_variable(target, programs):
    assert programs(target, "DATA=a", "SEEDS=3")[target.replace("-", "_")][-1] == "--seeds=3"


def test_what_is_looked_for_is_asked_before_the_pass(programs, calls, clone):
    found = programs("similar", "DATA=photos/", "IMAGES=a b.jpg", "SIMILAR_ARGS=--nearest 3")
    assert list(found) == ["extract", "similar"]
    assert found["similar"] == ["--data=photos/", "--images=a b.jpg", "--nearest", "3"]
    assert programs("similar", "CACHE=f.h5", "IMAGES=a.jpg") == {"similar": ["--cache=f.h5", "--images=a.jpg"]}
    assert calls("similar", "DATA=photos/", "SIMILAR_ARGS=--help") == [("similar", ["--data=photos/", "--help"])]
    (clone / "calls").unlink()
    assert "make similar needs IMAGES=: a picture, a folder" in make("similar", "DATA=photos/", folder=clone, code=2)
    assert not (clone / "calls").exists()


def test_folds_and_repeats_have_variables_that_are_read_before_the_pass(programs, clone):
    assert programs("cv", "DATA=a", "FOLDS=3", "REPEATS=2")["cv"][-2:] == ["--folds=3", "--repeats=2"]
    (clone / "calls").unlink()
    assert "--folds is 1, but must be at least 2" in make("cv", "DATA=a", "FOLDS=1", folder=clone, code=2)
    assert not (clone / "calls").exists()


def test_the_demo_hands_flags_to_its_steps(calls):
    flags = dict(calls("demo", "HEAD_ARGS=--lr 1", "FINETUNE_ARGS=--subset 9"))
    assert (flags["train_head"][-2:], flags["finetune"][-2:]) == (["--lr", "1"], ["--subset", "9"])


def test_a_word_that_make_does_not_know_is_refused_without_an_environment(bare):
    assert "data=: no such variable or target" in make("data=1", "PYTHON=nowhere", folder=bare, code=2)


def test_the_makefile_knows_the_variables_that_it_uses_and_uses_those_that_it_knows():
    text = (ROOT / "Makefile").read_text()
    names, others = re.findall(r"^(?:NAMES += |VARIABLES = \$\(NAMES\) )(.*)", text, re.MULTILINE)
    used = set(re.findall(r"\$\(([A-Z]+_ARGS)\)", text)) | set(re.findall(r'"\$\$([A-Z]+)"', text))
    known = set(f"{names} {others}".split())
    assert used <= known
    assert known <= set(re.findall(r"\$[($]([A-Z_]+)", text))


def test_a_run_is_used_as_it_is_and_nothing_is_extracted_or_trained_for_it(programs):
    named = ("RUN=data/runs/my photos/best", "IMAGES=new pictures/*.jpg")
    run, images = "--run=data/runs/my photos/best", "--images=new pictures/*.jpg"
    assert programs("predict", *named)["predict"] == [run, images]
    assert programs("export", *named, "FORMAT=onnx")["export"] == [run, "--format=onnx", images]
    assert programs("predict", "RUN=r", "CACHE=f.h5")["predict"] == ["--run=r", "--cache=f.h5"]
    assert list(programs("predict", "export", *named)) == ["predict", "export"]


@pytest.mark.parametrize("name", ["DATA", "BACKBONE", "CACHE", "RUN", "IMAGES"])
def test_an_empty_name_is_a_mistake_and_not_the_digits(name, clone):
    """As of a variable of the shell that is not set: make train-head DATA=$PHOTOS."""
    assert f"{name}= is empty: give a name" in make("train-head", f"{name}=", folder=clone, code=2)
    assert not (clone / "calls").exists()


def test_an_empty_variable_of_the_environment_is_left_out(programs, monkeypatch):
    monkeypatch.setenv("DATA", "")
    assert "--config=digits" in programs("train-head")["train_head"]


def test_the_demo_is_the_whole_story_on_the_digits_whatever_data_is_named(calls):
    story = calls("demo", "DATA=photos/", "CACHE=f.h5")
    assert [name for name, _ in story if name != "prepare_data"] == ["extract", "train_head", "finetune", "compare"]
    assert all(flags == ["--config=digits"] for _, flags in story)


def test_help_lists_every_target():
    listed = set(re.findall(r"^make ([a-z-]+) ", make("help"), re.MULTILINE))
    assert listed == targets()


def test_make_alone_only_helps():
    assert make() == make("help")


@pytest.mark.parametrize("target", sorted(targets() - {"help", "clean", "clean-all", "clean-cache"}))
def test_every_target_makes_the_environment_where_there_is_none(target, bare):
    named = {"similar": ["IMAGES=a.jpg"], "choose": ["POOL=new"]}.get(target, [])
    printed = make("-n", target, *named, folder=bare)
    assert "-m venv .venv" in printed
    assert printed.index("-m venv .venv") < printed.index("pip install")


def test_the_environment_is_renewed_when_pyproject_is_newer(bare):
    (bare / ".venv").mkdir()
    (bare / ".venv" / "ready").touch()
    os.utime(bare / "pyproject.toml", (1, 1))
    assert "-m venv" not in make("-n", "setup", folder=bare)
    os.utime(bare / ".venv" / "ready", (0, 0))
    assert "-m venv" in make("-n", "setup", folder=bare)


def test_interpreter_and_package_index_can_be_chosen(bare):
    printed = make("-n", "setup", "PYTHON=python3.99", "PIP_ARGS=--retries 9", folder=bare)
    assert "python3.99 -m venv .venv" in printed
    assert "install --retries 9" in printed
    assert "import torch, torchvision" in printed


def test_ci_runs_style_types_and_tests():
    ci = ROOT / ".ci" / "run"
    assert os.access(ci, os.X_OK)
    assert "make check" in ci.read_text().splitlines()
    printed = make("-n", "check")
    assert all(step in printed for step in ("ruff check", "ruff format --check", "-m mypy"))
    (tests,) = re.findall("-m pytest -q [^;]*", printed)
    assert " -m " not in tests, "all tests"
    assert f'{tests} -m "not slow"' in make("-n", "test")


def test_compiled_nets_can_be_removed_and_nothing_else(clone, tmp_path, monkeypatch):
    files = [tmp_path / "user cache" / name for name in ("headstart/compiled/net.pt2", "headstart/notes", "net.pth")]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"net")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user cache"))
    make("clean-cache", folder=clone)
    assert [file.exists() for file in files] == [False, True, True]


@pytest.fixture
def worked(clone) -> Path:
    """A clone in which somebody has worked."""
    kept = ["data/README.md", "data/my photos/a.jpg", "data/features/a.h5", "data/features/a.h5.growing"]
    kept += ["data/runs/a/head-1/head.pth", "data/cifar10/train/cat/1.png"]
    left = ["data/indexes/i.npz", "data/features/b.h5.new", "data/runs/a/head-1/.metrics.json.12.tmp", ".ruff_cache/a"]
    for name in [*kept, *left]:
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).touch()
        os.utime(clone / name, (1, 1))
    (clone / "data/features/c.h5.new").touch()
    return clone


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in (folder / "data").rglob("*") if path.is_file()}


def test_clean_keeps_caches_runs_downloads_and_what_a_pass_is_writing(worked):
    before = files_in(worked)
    make("clean", folder=worked)
    gone = {"data/indexes/i.npz", "data/features/b.h5.new", "data/runs/a/head-1/.metrics.json.12.tmp"}
    assert before - files_in(worked) == gone
    assert not (worked / ".ruff_cache").exists()
    assert (worked / ".venv/ready").exists()


def test_clean_works_where_nothing_was_made(clone):
    make("clean", folder=clone)
    assert make("clean-all", folder=clone) == ""


def test_clean_all_removes_nothing_without_a_yes(worked):
    before = files_in(worked)
    printed = make("clean-all", folder=worked, code=2)
    assert "FORCE=1" in printed
    assert all(f"data/{name}" in printed for name in ("features", "runs", "cifar10"))
    assert files_in(worked) == before


def test_clean_all_takes_nothing_that_was_not_made_here(worked):
    make("clean-all", "FORCE=1", folder=worked)
    assert files_in(worked) == {"data/README.md", "data/my photos/a.jpg"}
