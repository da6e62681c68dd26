"""The order of imports: who may know of whom. It lets heads train without images, and help answer at once."""

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import headstart

SOURCE = Path(headstart.__file__).parent

ALLOWED = {
    "errors": "",
    "support": "errors",
    "settings": "errors",
    "models": "errors support settings",
    "datasets": "errors support settings",
    "cli": "errors support settings",
    "make_words": "errors cli settings",
    "images": "errors support datasets models",
    "runs": "errors support settings models datasets",
    "cache": "errors support settings datasets images models",
    "finetuning": "errors support settings datasets images models runs cache",
    "extraction": "errors support settings datasets images models cache",
    "heads": "errors support settings datasets models runs cache",
    "prediction": "errors support settings datasets images models runs cache heads",
    "probes": "errors support settings datasets runs cache heads",
    "crossvalidation": "errors support settings datasets runs cache heads probes",
    "report": "errors support settings datasets images runs cache heads",
    "search": "errors support settings datasets images cache extraction heads prediction report",
    "audit": "errors support settings datasets images runs cache heads probes crossvalidation report search",
    "choosing": "errors support settings datasets images runs cache extraction heads probes crossvalidation report",
    "benchmarks": "errors support settings datasets models images cache finetuning extraction heads prediction",
    "api": "errors settings datasets runs cache finetuning extraction heads prediction probes crossvalidation report",
}
"""Which folders (and modules beside them) each may import, anywhere in its modules, itself aside."""

SLOW = {"torch", "torchvision", "numpy", "h5py", "PIL", "sklearn", "scipy", "matplotlib", "tqdm", "tyro"}


def name_of(path: Path) -> str:
    """`heads/stack.py` → `headstart.heads.stack`; a package by its own name."""
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): ast.parse(path.read_text("utf-8")) for path in SOURCE.rglob("*.py")}


def imports(nodes: Iterator[ast.AST] | list[ast.stmt]) -> set[str]:
    """Full names of what is imported; `from headstart.cache import layout` counts as the module."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else str(node.module) for name in inner}
    return found


def folders(found: set[str]) -> set[str]:
    """The folders of the package among the imported names."""
    return {name.split(".")[1] for name in found if name.startswith("headstart.")}


def packages(found: set[str]) -> set[str]:
    """The other packages among them."""
    return {name.split(".")[0] for name in found} - {"headstart"}


@cache
def loaded(module: str) -> frozenset[str]:
    """What is imported, directly or through others, when the module is."""
    direct = imports(MODULES[module].body)
    return frozenset(direct.union(*(loaded(inner) for inner in direct & MODULES.keys())))


def modules_of(folder: str) -> list[str]:
    """Its modules, or the one module of that name."""
    return sorted(name for name in MODULES if name.split(".")[1:2] == [folder])


def test_no_module_imports_itself_through_others_not_even_later():
    graph = {name: imports(ast.walk(tree)) & MODULES.keys() for name, tree in MODULES.items()}
    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("folder", ALLOWED)
def test_each_folder_imports_only_what_the_table_allows(folder):
    for module in modules_of(folder):
        assert folders(imports(ast.walk(MODULES[module]))) <= {folder, *ALLOWED[folder].split()}, module


@pytest.mark.parametrize("module", [*modules_of("heads"), *modules_of("probes"), *modules_of("crossvalidation")])
def test_what_learns_from_features_sees_no_image_and_loads_no_backbone(module):
    found = imports(ast.walk(MODULES[module]))
    assert "headstart.models.loading" not in found
    assert not packages(found) & {"PIL", "torchvision"}


@pytest.mark.parametrize("module", [*modules_of("cache"), *modules_of("datasets"), "headstart.extraction.updating"])
def test_a_data_set_and_a_cache_are_read_and_written_without_torch(module):
    assert not packages(set(loaded(module))) & {"torch", "torchvision"}


@pytest.mark.parametrize("module", ["headstart.errors", *modules_of("settings"), "headstart.cli", "headstart.api"])
def test_settings_and_help_load_nothing_slow(module):
    assert not packages(set(loaded(module))) & SLOW


@pytest.mark.parametrize("folder", sorted({path.parent.name for path in SOURCE.rglob("*.py")} - {"headstart"}))
def test_the_face_of_a_folder_names_every_file_in_it(folder):
    described = ast.get_docstring(MODULES[f"headstart.{folder}"]) or ""
    assert [path.name for path in (SOURCE / folder).glob("[!_]*.py") if path.name not in described] == []


@pytest.mark.parametrize("folder", sorted(ALLOWED.keys() - {"settings"}))
def test_the_face_of_a_folder_imports_nothing(folder):
    face = MODULES.get(f"headstart.{folder}")
    assert folder in {"errors", "cli", "make_words", "api"} or imports(ast.walk(face)) == set()


def test_a_forbidden_import_would_be_seen():
    for text in ("from headstart.cache import layout", "def later():\n    import headstart.cache.layout"):
        assert folders(imports(ast.walk(ast.parse(text)))) - {"runs", *ALLOWED["runs"].split()} == {"cache"}
    assert {"headstart.runs.folder", "torch"} <= loaded("headstart.heads.run")
    assert ALLOWED.keys() == {name.split(".")[1] for name in MODULES if "." in name}
