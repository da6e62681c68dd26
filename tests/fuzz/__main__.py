"""`make fuzz`: damaged files of every kind; exit code 1 if one was neither read nor refused, or took too much."""

import argparse
import dataclasses
import json
import random
import sys
import tempfile
import time
from pathlib import Path

from helpers.charts import blank, charts
from stress.table import table

from fuzz.fuzzing import Fuzzed, Fuzzing
from fuzz.targets import TARGETS
from fuzz.worker import LIMIT_MB, LIMIT_SECONDS

HEAD = ["target", "inputs", "read", "refused", "wrong", "slowest, s", "largest process, MB"]


def main() -> int:
    """Reads damaged files of each target in turn, says what became of them."""
    asked = _asked()
    for (module, name), draw in charts().items():
        setattr(module, name, blank(draw))
    print(f"seed {asked.seed}", flush=True)
    done = [_fuzzed(target, asked) for target in asked.only]
    print(f"\n{table(HEAD, [_row(one) for one in done])}")
    print(
        "Wrong is what raises another error than ours, ends the process, or takes more than "
        f"{LIMIT_SECONDS:.0f} s or {LIMIT_MB:,.0f} MB."
    )
    for one in done:
        for verdict, file in one.wrong.items():
            print(f"\n{one.target}: {verdict}\n  {file}")
    if asked.record:
        asked.record.write_text(json.dumps({one.target: dataclasses.asdict(one) for one in done}, indent=1))
    return int(any(one.wrong for one in done))


def _row(one: Fuzzed) -> list[object]:
    counts = one.verdicts.values()
    return [one.target, sum(counts), *counts, f"{one.seconds:.2f}", f"{one.megabytes:.0f}"]


def _fuzzed(target: str, asked: argparse.Namespace) -> Fuzzed:
    share = len(asked.only)
    seconds = asked.seconds if asked.seconds else 1e9 if asked.inputs else 120
    count = -(-asked.inputs // share) if asked.inputs else 10**9
    with tempfile.TemporaryDirectory(prefix="headstart-fuzz-") as folder:
        alone = Path(folder) / "two" / "levels"  # above the folder of a list its pictures are looked for
        alone.mkdir(parents=True)
        fuzzing = Fuzzing(target, alone, asked.seed)
        if not asked.first:
            fuzzing.again()
        numbers = range(asked.first, asked.first + count)
        return fuzzing.run(numbers, time.monotonic() + seconds / share, asked.keep)


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser("make fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=0, help="for all targets together; by default 120")
    parser.add_argument("--inputs", type=int, default=0, help="of all targets together, however long it takes")
    parser.add_argument(
        "--only", nargs="+", choices=[*TARGETS], default=[*TARGETS], metavar="TARGET", help=", ".join(TARGETS)
    )
    parser.add_argument(
        "--seed", type=int, default=random.SystemRandom().randrange(10**6), help="by default another each time"
    )
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"), help="folder for inputs that are wrong")
    parser.add_argument("--record", type=Path, help="a JSON file for the figures")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
