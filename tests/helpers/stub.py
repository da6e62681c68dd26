"""Writes `headstart/__init__.pyi`, which tells editors and type checkers the arguments of every function.

.venv/bin/python tests/helpers/stub.py
"""

import inspect
from pathlib import Path

import headstart

STUB = Path(headstart.__file__).with_suffix(".pyi")

HEADER = '''"""What editors and type checkers read. `tests/helpers/stub.py` writes it from `api.py` and the settings."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from headstart.cache.feature_cache import FeatureCache as FeatureCache
from headstart.heads.estimator import HeadClassifier as HeadClassifier
from headstart.models.backbone import Backbone as Backbone
from headstart.prediction.classifier import Classifier as Classifier

'''


def text() -> str:
    """The whole stub."""
    functions = [name for name in headstart.__all__ if inspect.isfunction(getattr(headstart, name))]
    names = "".join(f'    "{name}",\n' for name in headstart.__all__)
    return f"{HEADER}__all__ = [\n{names}]\n\n" + "".join(declaration(name) for name in functions)


def declaration(name: str) -> str:
    """A function with its arguments, one on a line."""
    signature = inspect.signature(getattr(headstart, name))
    lines = []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in lines:
            lines.append("*")
        default = "" if parameter.default is parameter.empty else " = " + repr(parameter.default).replace("'", '"')
        lines.append(f"{parameter.name}: {parameter.annotation}{default}")
    arguments = "".join(f"    {line},\n" for line in lines)
    return f"def {name}(\n{arguments}) -> {signature.return_annotation}: ...\n"


if __name__ == "__main__":
    STUB.write_text(text(), encoding="utf-8")
