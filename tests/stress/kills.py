"""One program, ended at any moment and repeated to its end: the result of an undisturbed one, and nothing else left."""

import random
import re
import signal
import time
from dataclasses import dataclass, field

from stress.commands import COMMANDS, Laboratory
from stress.contents import contents_of, difference, done_rows
from stress.warm import Program

STOPPED = (130, -signal.SIGTERM)
"""Exit codes after SIGTERM: of a program that has begun, and of one that has not."""
COMPUTED = re.compile(r"(\d+) (?:images?|views?)(?: of \d+ images?)? through ")
"""What a pass says of the rows that it computed, for each net."""


@dataclass
class Killed:
    """How often a program was ended, and what became of it.

    Attributes:
        seconds: of the undisturbed program.
        changes: of files and names, by the undisturbed program.
        kills: by kill -9.
        terminations: by SIGTERM.
        at_changes: how many of both came just before a change, the others at a random time.
        completions: how often it was then repeated to its end.
        kept: rows that were done before it was repeated, of all repetitions.
        wrong: a sentence for each promise that did not hold.
    """

    name: str
    seconds: float
    changes: int
    kills: int = 0
    terminations: int = 0
    at_changes: int = 0
    completions: int = 0
    kept: int = 0
    wrong: list[str] = field(default_factory=list)


class Killing:
    """Ends a program again and again."""

    def __init__(self, laboratory: Laboratory, name: str, generator: random.Random) -> None:
        """Runs it undisturbed."""
        self.laboratory, self.command, self.generator = laboratory, COMMANDS[name], generator
        laboratory.prepare(*self.command.needs)
        self.given, self.before = done_rows(laboratory.work), contents_of(laboratory.work)
        with laboratory.started(self.command.words) as program:
            assert program.ended() == 0, program.said
            self.killed = Killed(name, program.seconds, program.changes)
            self.rows = _computed(program) + self.given
        self.expected = contents_of(laboratory.work)

    def kill(self, count: int) -> Killed:
        """So many times, fresh or on what the one before has left; a program that was faster does not count."""
        self.laboratory.prepare(*self.command.needs)
        for _ in range(3 * count):
            number = self.killed.kills + self.killed.terminations
            if number == count:
                break
            was_ended = self._end(signal.SIGTERM if number % 3 == 1 else signal.SIGKILL, at_change=number % 2 == 0)
            if not was_ended or number + 1 == count or self.generator.random() < 0.5:
                self._complete()
                self.laboratory.prepare(*self.command.needs)
        return self.killed

    def _end(self, sent: int, at_change: bool) -> bool:
        """Starts the program and ends it, before one of its changes or at a random time; False if it was faster."""
        moment = self.generator.randint(1, self.killed.changes) if at_change else 0
        with self.laboratory.started(self.command.words, moment, sent) as program:
            if not at_change:
                seconds = self.generator.uniform(0, self.killed.seconds)
                while not program.has_ended() and time.monotonic() < program.began + seconds:
                    time.sleep(0.001)
                program.send(sent)
            if program.ended() == 0:
                return False
            self._record(program, sent, at_change)
        return True

    def _record(self, program: Program, sent: int, at_change: bool) -> None:
        self.killed.at_changes += at_change
        if half := [] if self.command.fills else self._half_written():
            self.killed.wrong.append(f"neither as before nor as after: {', '.join(half)}")
        if sent == signal.SIGKILL:
            self.killed.kills += 1
            return
        self.killed.terminations += 1
        if program.code not in STOPPED:
            self._wrong(f"SIGTERM ended it with {program.code}", program)

    def _half_written(self) -> list[str]:
        found = contents_of(self.laboratory.work).items() - self.before.items() - self.expected.items()
        return [name for name, _ in found if name in self.expected]

    def _complete(self) -> None:
        done = done_rows(self.laboratory.work)
        self.killed.completions += 1
        self.killed.kept += done - self.given
        with self.laboratory.started(self.command.words) as program:
            if program.ended():
                self._wrong(f"repeated, it ended with {program.code}", program)
            elif self.rows and _computed(program) != self.rows - done:
                self._wrong(f"{done} of {self.rows} rows were done, and {_computed(program)} were computed", program)
        if wrong := difference(contents_of(self.laboratory.work), self.expected):
            self.killed.wrong.append(wrong)

    def _wrong(self, what: str, program: Program) -> None:
        self.killed.wrong.append(f"{what}: {program.said[-2000:]}")


def _computed(program: Program) -> int:
    return sum(map(int, COMPUTED.findall(program.said)))
