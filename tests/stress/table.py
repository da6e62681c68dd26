"""What kills and races have shown, as tables."""

from collections.abc import Sequence

from stress.kills import Killed
from stress.races import Raced

OF_KILLS = ["command", "alone, s", "changes", "kill -9", "SIGTERM", "at a change", "repeated", "rows kept", "wrong"]
OF_RACES = ["race", "races", "refused", "reads", "wrong"]


def tables(killed: Sequence[Killed], raced: Sequence[Raced]) -> str:
    """A row for each program and race, then each promise that did not hold."""
    kills = [
        [
            one.name,
            f"{one.seconds:.1f}",
            one.changes,
            one.kills,
            one.terminations,
            one.at_changes,
            one.completions,
            one.kept,
        ]
        for one in killed
    ]
    races = [[one.name, one.races, one.refused, one.reads] for one in raced]
    blocks = [
        table(head, [[*row, len(one.wrong)] for row, one in zip(rows, done, strict=True)])
        for head, rows, done in ((OF_KILLS, kills, killed), (OF_RACES, races, raced))
        if done
    ]
    return "\n\n".join([*blocks, *(f"{one.name}: {wrong}" for one in (*killed, *raced) for wrong in one.wrong)])


def table(head: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    """Columns as wide as they must be."""
    cells = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in cells)
