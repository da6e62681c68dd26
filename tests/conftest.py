"""Fixtures of several tests: small pictures, files, figures, one net, one thread."""

import copy
import functools
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.charts import Charts, blank, charts
from helpers.pictures import picture

with suppress(ImportError):  # tests/gpu need it not, and run where little is installed
    from hypothesis import settings

    settings.register_profile("any machine", deadline=None)  # how long an example takes is the machine's affair
    settings.load_profile("any machine")

Make = Callable[..., Path]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with the most slow tests come first, so that no process is left alone with one of them at the end."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Matrices in tests are small: several threads would only wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def own_folder_of_compiled_nets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests neither use nor fill that of the user."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("user-cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def untrained_nets_once() -> Iterator[None]:
    """Whoever asks for an untrained net gets a copy of it: to draw millions of weights takes longer."""
    from headstart.models import loading

    drawn = functools.lru_cache(maxsize=4)(loading._random)  # a ResNet50 takes 100 MB
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loading, "_random", lambda *asked: copy.deepcopy(drawn(*asked)))
        yield


@pytest.fixture(scope="module")
def one_net() -> Iterator[None]:
    """Extraction builds each net, and its fast form, once: nothing changes it, as the tests of the backbone prove."""
    from helpers.extraction import shared_net

    from headstart.extraction import extractor

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extractor, "load_frozen", shared_net)
        patch.setattr(extractor, "fast_form", functools.lru_cache(maxsize=4)(extractor.fast_form))
        yield


@pytest.fixture
def make_photos(tmp_path: Path) -> Make:
    """Makes `<folder>/<class>/000.png`, …: `make_photos({"cat": 5, "dog": 5})`; every picture is another."""

    def make(classes: dict[str, int], folder: str = "photos", suffix: str = ".png") -> Path:
        root = tmp_path / folder
        for place, (name, count) in enumerate(classes.items()):
            (root / name).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                picture(1000 * place + number).save(root / name / f"{number:03}{suffix}")
        return root

    return make


@pytest.fixture
def files(tmp_path: Path) -> Make:
    """Makes files below `tmp_path`, each with its own name as content."""

    def make(*names: str | bytes) -> Path:
        for name in names:
            path = os.path.join(os.fsencode(tmp_path), os.fsencode(name))
            os.makedirs(os.path.dirname(path), exist_ok=True)
            Path(os.fsdecode(path)).write_bytes(os.fsencode(name))
        return tmp_path

    return make


@pytest.fixture(scope="session", autouse=True)
def blank_charts() -> Iterator[Charts]:
    """Charts have tests of their own: where nothing asks for `drawn`, those of runs and reports are blank."""
    real = charts()
    with pytest.MonkeyPatch.context() as patch:
        for (module, name), draw in real.items():
            patch.setattr(module, name, blank(draw))
        yield real


@pytest.fixture
def drawn(blank_charts: Charts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Charts as a user gets them."""
    for (module, name), draw in blank_charts.items():
        monkeypatch.setattr(module, name, draw)


@pytest.fixture
def figures(drawn: None, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every matplotlib figure that is written."""
    from matplotlib.figure import Figure

    drawn, write = [], Figure.savefig

    def remember(figure: Figure, *arguments: Any, **options: Any) -> None:
        drawn.append(figure)
        write(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", remember)
    return drawn
