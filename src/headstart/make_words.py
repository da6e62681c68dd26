"""What a person may have meant by a variable or a target that the Makefile does not have, in one sentence for each.

Called by the Makefile, before every target, only where there is such a word.
"""

import dataclasses
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches

from headstart.cli import PROGRAMS
from headstart.errors import nearest
from headstart.settings.command import FLAGS_OF


def answers(known: Sequence[str], words: Sequence[str]) -> str:
    """A sentence for each of the words; variables, known or not, end in `=`, the others are targets."""
    variables = [name.rstrip("=") for name in known if name.endswith("=")]
    targets = [name for name in known if not name.endswith("=")]
    return " ".join(
        _on_variable(word.rstrip("="), variables) if word.endswith("=") else _on_target(word, targets) for word in words
    )


def _on_variable(name: str, variables: Sequence[str]) -> str:
    meant = _flags() | {variable.lower(): f"{variable}=…" for variable in variables}
    near = nearest(name.replace("-", "_"), meant)
    return f"There is no variable {name}: " + (
        f"write {meant[near]} instead." if near else f"there are {' '.join(variables)}."
    )


def _flags() -> dict[str, str]:
    """By the name of a setting, how to give it."""
    ways: dict[str, list[str]] = {}
    for program, variable in FLAGS_OF.items():
        for field in dataclasses.fields(PROGRAMS[program]):
            flag = field.name.replace("_", "-")
            ways.setdefault(field.name, []).append(f'{variable}="--{flag} …"')
    return {name: " or ".join(way) for name, way in ways.items()}


def _on_target(word: str, targets: Sequence[str]) -> str:
    if "/" in word or "." in word or os.path.exists(word):
        return (
            f"{word} is no target: write a name with spaces, or with * for several archives, in quotes, such as "
            "DATA='my photos' or DATA='shards/*.tar'."
        )
    near = get_close_matches(word.lower().replace("_", "-"), targets, 1)
    return f"There is no target {word}: " + (f"make {near[0]} is the nearest." if near else "make help lists them.")


if __name__ == "__main__":
    end = sys.argv.index("--")
    print(answers(sys.argv[1:end], sys.argv[end + 1 :]).removesuffix("."))  # make adds a full stop
