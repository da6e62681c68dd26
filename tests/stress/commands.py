"""The programs that write, each on so little data that it takes a second."""

import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from stress.warm import Program

OLD_IMAGES, IMAGES = 32, 64
NET = """
import time

import torch

import headstart


class Thin(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.patches, self.classes = torch.nn.Conv2d(3, 16, 8, 8), torch.nn.Linear(16, 5)

    def forward(self, pixels):
        time.sleep(0.01)
        return self.classes(self.patches(pixels).relu().mean(dim=(2, 3)))


def net():
    return headstart.Backbone(Thin(), image_px=32)


def other():
    return headstart.Backbone(Thin(), image_px=16)
"""
PHOTOS = "../given/photos"
FLAGS = f"--data {PHOTOS} --precision fp32 --compile off --batch-size 2 --workers 1"
PASS = f"extract --backbone thin:net {FLAGS}"
TUNE = f"finetune --data {PHOTOS} --backbone thin:net --precision fp32 --batch-size 8 --workers 1 --epochs 3 --run r"
HEAD = "train_head --cache f.h5 --hidden 8 --epochs 3 --run r"


@dataclass(frozen=True)
class Command:
    """A program with its flags.

    Attributes:
        needs: files that lie in its folder before.
        fills: whether it fills files that have their names already, row by row; others appear whole.
    """

    words: str
    needs: tuple[str, ...] = ()
    fills: bool = False


COMMANDS = {
    "data": Command("prepare_data --source digits --data digits"),
    "extract": Command(f"{PASS} --cache f.h5", fills=True),
    "growth": Command(f"{PASS} --cache f.h5", ("old/f.h5",)),
    "views": Command(f"{PASS} --cache f.h5 --views 2", fills=True),
    "parts": Command(f"{PASS} --cache f.h5 --parts 3", fills=True),
    "several": Command(f"extract --backbone 'thin:net thin:other' {FLAGS}", fills=True),
    "train-head": Command(HEAD, ("f.h5",)),
    "sweep": Command("sweep --cache f.h5 --hidden none 8 --lr 1e-3 1e-2 --epochs 3 --run r", ("f.h5",)),
    "finetune": Command(TUNE),
    "predict": Command(f"predict --run r --images {PHOTOS} --batch-size 2 --workers 1 --out p.csv", ("r",)),
    "export": Command("export --run r --out e", ("r",)),
    "audit": Command("audit --cache f.h5 --fix clean.csv", ("f.h5",)),
}
"""What is killed, by its target of make."""


class Laboratory:
    """Two folders: `given` holds pictures, caches and a run, in `work` programs run."""

    def __init__(self, folder: Path) -> None:
        """Makes what is given."""
        self.given, self.work = folder / "given", folder / "work"
        self._add_pictures(0, OLD_IMAGES)
        self._give("extract", "f.h5", "old")
        self._add_pictures(OLD_IMAGES, IMAGES)
        self._give("extract", "f.h5")
        self._give("train-head", "r")

    def prepare(self, *needs: str) -> Path:
        """The work folder, empty but for the net and copies of these files."""
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True)
        (self.work / "thin.py").write_text(NET)
        for name in needs:
            copy = shutil.copytree if (self.given / name).is_dir() else shutil.copy2
            copy(self.given / name, self.work / Path(name).name)
        return self.work

    @contextmanager
    def started(self, words: str, moment: int = 0, sent: int = 0) -> Iterator[Program]:
        """A program in the work folder, which does not outlive the block; see `Program`."""
        program = Program(shlex.split(words), self.work, moment, sent)
        try:
            yield program
        finally:
            program.forget()

    def _add_pictures(self, first: int, end: int) -> None:
        """Noise, of two classes; names of old and new ones are mixed."""
        for number in range(first, end):
            file = self.given / "photos" / ("cat", "dog")[number % 2] / f"{number * 37 % IMAGES:03}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng(number).integers(0, 256, (36, 40, 3), np.uint8)
            Image.fromarray(noise).save(file)

    def _give(self, name: str, made: str, place: str = "") -> None:
        command = COMMANDS[name]
        self.prepare(*command.needs)
        with self.started(command.words) as program:
            assert program.ended() == 0, program.said
        (self.given / place).mkdir(exist_ok=True)
        (self.work / made).rename(self.given / place / made)
