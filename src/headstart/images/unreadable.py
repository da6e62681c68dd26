"""Images that could not be read: which, why, and whether they are too many."""

from collections import Counter
from collections.abc import Iterable

from headstart.support.quantities import tolerated

SHOWN = 20
"""How many are named one by one."""


class Unreadable:
    """Unreadable images in bounded memory: path and reason of the `first`, and how many have each of the `reasons`."""

    def __init__(self, images: Iterable[tuple[str, str]] = ()) -> None:
        self.first: list[tuple[str, str]] = []
        self.reasons: Counter[str] = Counter()
        for path, reason in images:
            self.add(path, reason)

    def __len__(self) -> int:
        return self.reasons.total()

    def add(self, path: str, reason: str) -> None:
        self.reasons[reason] += 1
        if len(self.first) < SHOWN:
            self.first.append((path, reason))

    def report(self, images: int, allowed: float) -> int:
        """Prints the unreadable images; exit code 1 if they are more than the `allowed` fraction, see `tolerated`."""
        for path, reason in self.first:
            print(f"  unreadable: {path}: {reason}")
        if len(self) > SHOWN:
            counts = ", ".join(f"{count} x {reason}" for reason, count in self.reasons.most_common())
            print(f"  … and {len(self) - SHOWN} more ({counts})")
        too_many = len(self) > tolerated(allowed, images)
        if too_many:
            allow_more = "allow more with --max-unreadable (with make: in EXTRACT_ARGS, PREDICT_ARGS or SIMILAR_ARGS)"
            print(f"More than {allowed:.1%} are unreadable: repair them, or {allow_more}.")
        return int(too_many)
