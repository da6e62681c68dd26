"""Damaged files of one target: where they come from, where the wrong ones are kept, how many were read or refused."""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

from fuzz.mutation import mutated
from fuzz.sound import Seeds
from fuzz.targets import TARGETS
from fuzz.worker import Result, Worker

KEPT = Path(__file__).parent / "seeds"
"""Inputs that once were neither read nor refused: `<target>/<digest>-<name>`, `+` for the slashes of a name."""


@dataclass
class Fuzzed:
    """What became of the inputs of a target.

    Attributes:
        verdicts: how many were `read`, `refused` and `wrong`.
        seconds: of the slowest.
        megabytes: of the largest process.
        wrong: of each mistake its sentence, and the first input: its file, and how to read it again.
    """

    target: str
    verdicts: dict[str, int] = field(default_factory=lambda: {"read": 0, "refused": 0, "wrong": 0})
    seconds: float = 0.0
    megabytes: float = 0.0
    wrong: dict[str, str] = field(default_factory=dict)


class Fuzzing:
    """Damaged files of one target, in a folder where sound ones lie."""

    def __init__(self, target: str, folder: Path, seed: int) -> None:
        """Makes the sound files in a folder that is there."""
        self.target, self.folder, self.seed = target, folder, seed
        self.seeds: Seeds = TARGETS[target].seeds(folder)
        self.fuzzed = Fuzzed(target)

    def damaged(self, number: int) -> tuple[str, bytes]:
        """The name and the content of an input: the same for the same seed and number."""
        generator = random.Random(f"{self.seed} {self.target} {number}")
        place = generator.randrange(len(self.seeds))
        return self.seeds[place][0], mutated([data for _, data in self.seeds], place, generator)

    def run(self, numbers: range, until: float, keep: Path) -> Fuzzed:
        """Reads the inputs with these numbers, as many as there is time for; keeps wrong ones in a folder."""
        with Worker(self.target, self.folder) as worker:
            for number in numbers:
                if time.monotonic() > until:
                    break
                name, data = self.damaged(number)
                result = self._read(worker, name, data)
                if self._is_new_mistake(result):
                    again = f"--only {self.target} --seed {self.seed} --first {number} --inputs 1"
                    file = _keep(keep / self.target, name, data)
                    self.fuzzed.wrong[result.verdict] = f'{file}; again: make fuzz FUZZ_ARGS="{again}"'
        return self.fuzzed

    def again(self) -> None:
        """Reads the inputs of this target that are kept for good."""
        with Worker(self.target, self.folder) as worker:
            for file in sorted((KEPT / self.target).glob("*-*")):
                name = file.name.partition("-")[2].replace("+", "/")
                result = self._read(worker, name, file.read_bytes())
                if self._is_new_mistake(result):
                    self.fuzzed.wrong[result.verdict] = f"{file}, which is read each time"

    def _read(self, worker: Worker, name: str, data: bytes) -> Result:
        with self._in_place(name, data):
            return worker.read(name)

    @contextmanager
    def _in_place(self, name: str, data: bytes) -> Iterator[None]:
        """The damaged file instead of the sound one."""
        path = self.folder / name
        sound = path.read_bytes() if path.exists() else None
        path.write_bytes(data)
        try:
            yield
        finally:
            path.unlink() if sound is None else path.write_bytes(sound)

    def _is_new_mistake(self, result: Result) -> bool:
        fuzzed = self.fuzzed
        fuzzed.verdicts["wrong" if result.is_wrong else result.verdict] += 1
        fuzzed.seconds, fuzzed.megabytes = max(fuzzed.seconds, result.seconds), max(fuzzed.megabytes, result.megabytes)
        return result.is_wrong and _kind(result.verdict) not in map(_kind, fuzzed.wrong)


def _keep(folder: Path, name: str, data: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{blake2b(data, digest_size=4).hexdigest()}-{name.replace('/', '+')}"
    file.write_bytes(data)
    return file


def _kind(verdict: str) -> str:
    """Where it failed and by which exception: what its message says may differ."""
    return ":".join(verdict.split(":")[:3])
