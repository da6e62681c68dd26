"""The packages that tests and figures of a GPU need, named before anything is imported that is not there."""

import sys
from collections.abc import Mapping
from importlib.util import find_spec

NEEDED = {
    "torch": "torch",
    "torchvision": "torchvision",
    "numpy": "numpy",
    "h5py": "h5py",
    "sklearn": "scikit-learn",
    "scipy": "scipy",
    "PIL": "Pillow",
    "tqdm": "tqdm",
    "tyro": "tyro",
    "docstring_parser": "docstring-parser",  # tyro's, for who installs single files without what they need
    "typeguard": "typeguard",
    "braceexpand": "braceexpand",
    "matplotlib": "matplotlib",
    "jinja2": "Jinja2",
    "pytest": "pytest",
}
"""Modules, and the names under which pip finds them."""


def missing(needed: Mapping[str, str] = NEEDED) -> str:
    """A sentence with the packages that this Python does not have; empty where it has all."""
    names = [package for module, package in needed.items() if find_spec(module) is None]
    if not names:
        return ""
    return (
        f"{sys.executable} has no {', no '.join(names)}: {sys.executable} -m pip install {' '.join(names)}; or leave "
        "PYTHON= out, and make takes .venv, which has all."
    )
