"""Two programs at once on the same files: each ends well or names the other, and the result is that of one of them."""

import os
import random
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import headstart
from headstart.cache.feature_cache import FeatureCache
from headstart.errors import CacheError
from stress.commands import COMMANDS, HEAD, IMAGES, OLD_IMAGES, TUNE, Laboratory
from stress.contents import contents_of, difference
from stress.warm import Program

REFUSED = re.compile(r"process \d+|holds a run with other settings|by another process meanwhile")
"""What one says that was refused: who is at work, or what another has finished before it."""


@dataclass(frozen=True)
class Race:
    """Two programs that are started at nearly the same time.

    Attributes:
        pairs: words of the first and of the second; one pair after the other is run.
        needs: files that lie in the folder before.
        link: a name in the folder that leads to `f.h5` on another disk, or what stands for it.
    """

    pairs: tuple[tuple[str, str], ...]
    needs: tuple[str, ...] = ()
    link: str = ""


def twice(name: str) -> Race:
    """The same program two times."""
    command = COMMANDS[name]
    return Race(((command.words, command.words),), command.needs)


OTHER_HEAD = f"{HEAD} --lr 1e-2"
EXTRACT = COMMANDS["extract"].words
RACES = {
    "two trainings, one run": Race(((HEAD, OTHER_HEAD), (HEAD, HEAD), (TUNE, TUNE), (HEAD, TUNE)), ("f.h5",)),
    "two make data": twice("data"),
    "two extracts, one cache": Race(((EXTRACT, EXTRACT.replace("f.h5", "link.h5")),), link="link.h5"),
    "two growths, one cache": twice("growth"),
    "two audits": twice("audit"),
    "two predicts, one --out": twice("predict"),
}
READER = "a reader during growth"
REPLACED = "was replaced by another process meanwhile"
"""What one is told who opened a cache before it grew."""


@dataclass
class Raced:
    """What became of programs that ran at once.

    Attributes:
        races: how often.
        refused: how often one ended with 2 and said which other is at work.
        reads: of a cache that was growing.
        wrong: a sentence for each promise that did not hold.
    """

    name: str
    races: int = 0
    refused: int = 0
    reads: int = 0
    wrong: list[str] = field(default_factory=list)


class Racing:
    """Runs two programs at once, again and again."""

    def __init__(self, laboratory: Laboratory, name: str, generator: random.Random) -> None:
        """Runs each alone first."""
        self.laboratory, self.race, self.generator = laboratory, RACES[name], generator
        self.raced = Raced(name)
        self.seconds = 0.0
        self.alone = {words: self._alone(words) for pair in self.race.pairs for words in pair}

    def _alone(self, words: str) -> dict[str, str]:
        self._prepare()
        with self.laboratory.started(words) as program:
            assert program.ended() == 0, program.said
            self.seconds = max(self.seconds, program.seconds)
        return contents_of(self.laboratory.work)

    def _prepare(self) -> None:
        work = self.laboratory.prepare(*self.race.needs)
        if self.race.link:
            (work / self.race.link).symlink_to("f.h5")

    def run(self, count: int) -> Raced:
        """So many times."""
        for number in range(count):
            pair = self.race.pairs[number % len(self.race.pairs)]
            self._prepare()
            with self.laboratory.started(pair[0]) as first:
                if number % 2:  # else both begin at once
                    time.sleep(self.generator.uniform(0, self.seconds))
                with self.laboratory.started(pair[1]) as second:
                    self._judge(pair, first, second)
        return self.raced

    def _judge(self, pair: tuple[str, str], *programs: Program) -> None:
        codes = [program.ended() for program in programs]
        self.raced.races += 1
        for program in programs:
            if program.code == 2 and REFUSED.search(program.said):
                self.raced.refused += 1
            elif program.code:
                self.raced.wrong.append(f"one ended with {program.code}: {program.said[-2000:]}")
        if 0 not in codes:
            self.raced.wrong.append("none ended well")
        found = contents_of(self.laboratory.work)
        winners = [words for words, code in zip(pair, codes, strict=True) if code == 0]
        wrong = [difference(found, self.alone[words]) for words in winners]
        if wrong and all(wrong):
            self.raced.wrong.append(wrong[0])


def read_during_growth(laboratory: Laboratory, count: int) -> Raced:
    """A cache that is read again and again while it grows: always all of the old rows, or all of the new ones."""
    grown = FeatureCache(laboratory.given / "f.h5")
    truth = _read(grown.path, grown)
    growth, raced = COMMANDS["growth"], Raced(READER)
    for _ in range(count):
        path = laboratory.prepare(*growth.needs) / "f.h5"
        opened = FeatureCache(path)  # before it grows
        with laboratory.started(growth.words) as program:
            while not program.has_ended():
                for read in (_loaded, _read):
                    try:
                        raced.wrong += _differences(read(path, opened), truth)
                        raced.reads += 1
                    except CacheError as error:
                        raced.refused += 1
                        raced.wrong += [] if REPLACED in str(error) else [str(error)]
            if program.ended():
                raced.wrong.append(f"growth ended with {program.code}: {program.said[-2000:]}")
        raced.races += 1
    return raced


Rows = dict[str, NDArray[Any]]
"""The features of each image, by its path."""


def _loaded(path: Path, _: FeatureCache) -> Rows:
    """As one reads who begins now."""
    splits = headstart.load(path, also=["paths"])
    return {str(name): row for rows, _, names in splits.values() for row, name in zip(rows, names, strict=True)}


def _read(_: Path, opened: FeatureCache) -> Rows:
    """As one reads who has opened the cache before it grew."""
    return dict(zip(map(os.fsdecode, opened.manifest.paths.tolist()), opened.read(), strict=True))


def _differences(read: Rows, truth: Rows) -> list[str]:
    wrong = [f"features of {name}" for name, row in read.items() if not np.array_equal(row, truth[name])]
    return wrong if len(read) in (OLD_IMAGES, IMAGES) else [*wrong, f"{len(read)} rows"]
