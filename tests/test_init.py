"""The package as others import it: at once, with few names, and no others."""

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import headstart

HEAVY = {"torch", "torchvision", "sklearn", "scipy", "numpy", "h5py", "PIL", "matplotlib"}


def loaded_by(code: str) -> set[str]:
    """The heavy packages that a fresh interpreter has loaded after this."""
    environment = {**os.environ, "PYTHONPATH": str(Path(headstart.__file__).parents[1])}
    command = [sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules)"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return HEAVY & set(done.stdout.split())


def test_importing_headstart_loads_nothing_heavy():
    assert loaded_by("import headstart; headstart.__all__") == set()


def test_loading_features_needs_no_torch():
    assert "torch" not in loaded_by("import headstart; headstart.load, headstart.FeatureCache")


@pytest.mark.parametrize("name", headstart.__all__)
def test_every_public_name_is_there_when_it_is_asked_for(name):
    found = getattr(headstart, name)
    assert found.__name__ == name
    assert found is getattr(import_module(found.__module__), name)
    assert found.__doc__


def test_completion_shows_the_public_names_and_no_others():
    assert {name for name in dir(headstart) if not name.startswith("__")} == set(headstart.__all__)


def test_a_name_that_does_not_exist_is_an_attribute_error_that_names_it():
    with pytest.raises(AttributeError, match="'headstart' has no attribute 'Extractor'"):
        headstart.Extractor  # noqa: B018
    with pytest.raises(ImportError, match="load_all"):
        from headstart import load_all  # noqa: F401
    assert not hasattr(headstart, "nothing")


def test_a_misspelt_name_is_answered_with_the_nearest():
    with pytest.raises(AttributeError, match=r"no attribute 'train_haed'\. Did you mean train_head\?"):
        headstart.train_haed  # noqa: B018


def test_a_star_imports_exactly_the_public_names():
    names = {}
    exec("from headstart import *", names)
    assert set(names) - {"__builtins__"} == set(headstart.__all__)
