"""What people write in Python becomes the settings that the command line reads, to the identity of the run."""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.errors import SettingsError
from headstart.runs.folder import identity
from headstart.settings import ExtractConfig, HeadConfig, ProbeConfig, SweepConfig
from headstart.settings.from_python import config_from
from headstart.settings.wording import in_python

PLAIN = {
    "hidden": (16, 8),
    "lr": 0.5,
    "epochs": 3,
    "optimizer": "adamw",
    "views": 2,
    "run": Path("a/b"),
    "data": "photos",
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hidden", [16, 8]),
        ("hidden", np.array([16, 8])),
        ("hidden", (np.int64(16), np.array(8))),
        ("hidden", [16.0, 8.0]),
        ("lr", np.float64(0.5)),
        ("lr", np.float32(0.5)),
        ("lr", np.array(0.5)),
        ("epochs", np.int8(3)),
        ("epochs", 3.0),
        ("epochs", np.float64(3)),
        ("optimizer", np.str_("adamw")),
        ("views", np.int64(2)),
        ("run", "a/b"),
        ("data", Path("photos")),
    ],
)
def test_other_spellings_of_a_value_are_the_same_run(name, value):
    config = config_from(HeadConfig, **{**PLAIN, name: value})
    assert config == HeadConfig(**PLAIN)
    assert identity(config) == identity(HeadConfig(**PLAIN))
    assert type(getattr(config, name)) is type(getattr(HeadConfig(**PLAIN), name))


@pytest.mark.parametrize("value", [np.True_, True, 1, np.int64(1)])
def test_a_switch_may_come_from_numpy(value):
    assert config_from(ExtractConfig, overwrite=value).overwrite is True


def test_a_number_alone_is_a_tuple_of_one_and_a_word_too():
    config = config_from(SweepConfig, lr=1, seed=np.arange(2), schedule="cosine", hidden=[(), 8, (8, 4), "none"])
    assert (config.lr, config.seed, config.schedule) == ((1.0,), (0, 1), ("cosine",))
    assert config.hidden == ("none", "8", "8,4", "none")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("lr", "fast", "a number"),
        ("lr", [0.1, 0.2], "a number"),
        ("lr", np.array([0.1]), "a number"),
        ("epochs", 1.5, "a whole number"),
        ("epochs", float("nan"), "a whole number"),
        ("epochs", float("inf"), "a whole number"),
        ("hidden", [8.5], "a whole number, or several"),
        ("hidden", "8", "a whole number, or several"),
        ("optimizer", 3, "adam or adamw"),
        ("run", 3, "a path or None"),
        ("seed", 1j, "a whole number"),
    ],
)
def test_what_cannot_be_the_declared_type_is_refused_in_words(name, value, expected):
    with pytest.raises(SettingsError, match=f"^--{name} is .*, but must be {expected}") as error:
        config_from(HeadConfig, **{name: value})
    assert f"{name}=" in error.value.in_python


@given(
    value=st.one_of(
        *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.complex_numbers()),
        *(st.lists(st.integers(-3, 3)), st.just(OrderedDict()), st.just(np.datetime64("2020"))),
        st.lists(st.lists(st.floats())),
    ),
    name=st.sampled_from(["lr", "epochs", "hidden", "views", "cache", "optimizer", "data", "seed"]),
)
def test_whatever_is_given_is_taken_or_refused_as_a_setting(value, name):
    try:
        config = config_from(HeadConfig, **{name: value})
    except SettingsError:
        return
    assert isinstance(getattr(config, name), int | float | str | tuple | Path | None)


def test_a_cache_is_taken_where_the_data_is_meant():
    config = config_from(HeadConfig, data="photos.h5")
    assert (config.data, config.cache) == (None, Path("photos.h5"))


def test_columns_may_be_a_dictionary_and_no_hidden_layer_the_word_none():
    assert (
        config_from(ExtractConfig, columns={"path": "image", "label": "emotion"}).columns == "path=image,label=emotion"
    )
    assert config_from(HeadConfig, hidden="none").hidden == ()


@pytest.mark.parametrize(
    ("config_type", "name", "value", "nearest"),
    [
        (ProbeConfig, "methods", "kn", "knn"),
        (HeadConfig, "optimizer", "adm", "adam"),
        (SweepConfig, "optimizer", "adm", "adam"),
    ],
)
def test_a_word_that_does_not_exist_is_answered_with_the_nearest(config_type, name, value, nearest):
    with pytest.raises(SettingsError, match=f"Did you mean {nearest}"), in_python():
        config_from(config_type, **{name: value})
