"""The order of imports: who may know of whom. It lets heads train without images, and help answer at once."""

import ast
from collections.abc import Iterable
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import headstart

MODULES = {file.stem: ast.parse(file.read_text("utf-8")) for file in Path(headstart.__file__).parent.glob("[!_]*.py")}
FOR_IMAGES = {"PIL", "torchvision", "images", "loading", "extraction", "updating", "finetuning", "samples", "tuning"}
WITH_NETS = {"finetuning", "finetuned_run", "run_parts", "classifier", "prediction", "exporting", "model_card"}
"""What is made of both, cached features and nets."""


def names(nodes: Iterable[ast.AST]) -> set[str]:
    """What is imported: our modules by their own names, others by that of their package."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package, _, inner = str(node.module).partition(".")
            ours = {inner} if inner else {alias.name for alias in node.names}
            found |= ours if package == "headstart" else {package}
    return found


def imported(module: str) -> set[str]:
    """Anywhere in it."""
    return names(ast.walk(MODULES[module]))


@cache
def loaded(module: str) -> frozenset[str]:
    """Directly or through others, when it is imported."""
    direct = names(MODULES[module].body)
    return frozenset(direct.union(*(loaded(inner) for inner in direct & MODULES.keys())))


def test_no_module_imports_itself_through_others_not_even_later():
    TopologicalSorter({module: imported(module) & MODULES.keys() for module in MODULES}).prepare()


@pytest.mark.parametrize("module", ["arrays"])
def test_a_cache_is_read_and_written_without_torch(module):
    assert not loaded(module) & {"torch", "torchvision", "backbone", "features"}


@pytest.mark.parametrize("module", ["errors", "parsing", "cli"])
def test_settings_and_help_need_nothing_that_takes_long_to_load(module):
    assert not loaded(module) & {"torch", "numpy", "h5py", "PIL", "sklearn", "scipy", "matplotlib", "tqdm", "tyro"}
