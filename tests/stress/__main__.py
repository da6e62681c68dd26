"""`make stress`: kills and races of all programs that write; exit code 1 if anything was mixed, lost or left over."""

import argparse
import dataclasses
import json
import random
import sys
import tempfile
import time
from pathlib import Path

from stress.commands import COMMANDS, Laboratory
from stress.kills import Killing
from stress.races import RACES, READER, Racing, read_during_growth
from stress.table import tables
from stress.warm import warm_up


def main() -> int:
    """Runs what is asked for, prints the tables, and writes them as JSON if that is asked for."""
    asked = _asked()
    warm_up()
    killed, raced = [], []
    with tempfile.TemporaryDirectory(prefix="headstart-stress-") as folder:
        laboratory = Laboratory(Path(folder).resolve())
        for name in asked.only:
            generator = random.Random(f"{asked.seed} {name}")
            began = time.monotonic()
            if name in COMMANDS:
                killed.append(_said(Killing(laboratory, name, generator).kill(asked.kills), began))
            elif name == READER:
                raced.append(_said(read_during_growth(laboratory, asked.races), began))
            else:
                raced.append(_said(Racing(laboratory, name, generator).run(asked.races), began))
    print(f"\nseed {asked.seed}\n\n{tables(killed, raced)}")
    if asked.record:
        record = {one.name: dataclasses.asdict(one) for one in (*killed, *raced)}
        asked.record.write_text(json.dumps(record, indent=1))
    return int(any(one.wrong for one in (*killed, *raced)))


def _asked() -> argparse.Namespace:
    names = [*COMMANDS, *RACES, READER]
    parser = argparse.ArgumentParser("make stress", description=__doc__)
    parser.add_argument("--kills", type=int, default=30, help="of each program")
    parser.add_argument("--races", type=int, default=50, help="of each race")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--seed", type=int, default=0, help="draws the moments of kills")
    parser.add_argument("--record", type=Path, help="a JSON file for the figures")
    return parser.parse_args()


def _said(done, began):
    print(f"{done.name}: {time.monotonic() - began:.0f} s, {len(done.wrong)} wrong", flush=True)
    return done


if __name__ == "__main__":
    sys.exit(main())
