"""What several tests need: folders of small pictures that differ by class, and the figures that were drawn."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Make = Callable[..., Path]


def picture(seed: int, size: tuple[int, int] = (40, 36)) -> Image.Image:
    """A coloured gradient with noise, another for each seed; (width, height) pixels."""
    generator = np.random.default_rng(seed)
    width, height = size
    ramp = np.linspace(0, 1, width)[None, :, None] * generator.integers(0, 200, 3)
    noise = generator.integers(0, 55, (height, width, 3))
    return Image.fromarray((ramp + noise).astype(np.uint8))


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
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every matplotlib figure that is written."""
    from matplotlib.figure import Figure

    drawn, write = [], Figure.savefig

    def remember(figure: Figure, *arguments: Any, **options: Any) -> None:
        drawn.append(figure)
        write(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", remember)
    return drawn
