"""Messages that speak of flags and commands speak of arguments and functions in Python."""

import pytest

from headstart.errors import CacheError, DataError, HeadstartError, SettingsError, TrainingFailed, WeightsError
from headstart.settings.wording import for_python, in_python


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
        ("--tta needs views", "tta= needs views"),
        ("More than --max-unreadable 1.0% are", "More than max_unreadable= 1.0% are"),
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


def test_wrong_arguments_and_data_are_value_errors_and_all_errors_have_one_root():
    for kind in (SettingsError, DataError, WeightsError):
        assert issubclass(kind, ValueError)
        assert issubclass(kind, HeadstartError)
    assert not issubclass(TrainingFailed, ValueError)
