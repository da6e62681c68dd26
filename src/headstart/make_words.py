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

OTHER_TARGETS = {
    "setup": "install deps requirements venv env build",
    "demo": "all run start example quickstart",
    "extract": "features feature embed embeddings embedding encode cache",
    "train-head": "fit head classifier linear mlp",
    "probe": "knn ridge logistic",
    "cv": "cross-validate cross-validation crossvalidate crossvalidation kfold",
    "audit": "clean-data cleanlab dedup deduplicate duplicates fix-labels label-errors outliers",
    "similar": "nearest neighbors neighbours retrieve retrieval search",
    "choose": "active active-learning select-images what-to-label sample",
    "finetune": "tune",
    "compare": "report evaluate eval results metrics score plot",
    "predict": "infer inference classify",
    "data-check": "show look preview",
}
"""What people call these targets elsewhere."""

FOR_MOST = ("DATA", "CACHE", "CONFIG", "FORMAT", "NPROC")
"""Variables that a target may be given whatever it uses of the others."""


def answers(known: Sequence[str], used: Sequence[str], words: Sequence[str]) -> str:
    """A sentence for each of the words.

    Args:
        known: the variables, which end in `=`, and the targets.
        used: the variables that the targets of this command use; they are meant rather than others.
        words: those that are not known.
    """
    variables = [name.rstrip("=") for name in known if name.endswith("=")]
    targets = [name for name in known if not name.endswith("=")]
    return " ".join(
        _on_variable(word.rstrip("="), variables, used) if word.endswith("=") else _on_target(word, variables, targets)
        for word in words
    )


def _on_variable(name: str, variables: Sequence[str], used: Sequence[str]) -> str:
    for likely in (used, variables):
        ways = _ways(variables, likely)
        if near := nearest(name.replace("-", "_"), ways):
            return f"There is no variable {name}: write {ways[near]} instead."
    return f"There is no variable {name}: there are {' '.join(variables)}."


def _ways(variables: Sequence[str], likely: Sequence[str]) -> dict[str, str]:
    """By the name of a variable, or of a setting that one of the likely variables takes, how to give it."""
    own = [name for name in variables if name in likely or name in FOR_MOST]
    ways: dict[str, list[str]] = {}
    for program, variable in FLAGS_OF.items():
        for field in dataclasses.fields(PROGRAMS[program]) if variable in likely else ():
            flag = field.name.replace("_", "-")
            ways.setdefault(field.name, []).append(f'{variable}="--{flag} …"')
    return {name: " or ".join(way) for name, way in ways.items()} | {name.lower(): f"{name}=…" for name in own}


def _on_target(word: str, variables: Sequence[str], targets: Sequence[str]) -> str:
    if word in variables:
        return f"{word} is no target: write {word}=…, without spaces around the sign."
    if "/" in word or "." in word or os.path.exists(word):
        return (
            f"{word} is no target. If it is your data, write DATA={word} without a space; a name with spaces or * "
            "in quotes: DATA='my photos', DATA='shards/*.tar'."
        )
    plain = word.lower().replace("_", "-")
    other = next((target for target, names in OTHER_TARGETS.items() if plain in names.split()), None)
    near = [target for target in (other, *get_close_matches(plain, targets, 1)) if target in targets]
    return f"There is no target {word}: " + (f"make {near[0]} is the nearest." if near else "make help lists them.")


if __name__ == "__main__":
    of_make, used, unknown = (words.split("\0") for words in "\0".join(sys.argv[1:]).split("\0--\0"))
    print(answers(of_make, used, unknown).removesuffix("."))  # make adds a full stop
