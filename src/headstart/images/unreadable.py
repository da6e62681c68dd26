"""Images that could not be read: which, why, and whether they are too many."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

SHOWN = 20
"""How many are named one by one."""


@dataclass
class Unreadable:
    """A list that does not grow with its length: the first `SHOWN`, and a count for each reason."""

    first: list[tuple[str, str]] = field(default_factory=list)
    """Path and reason."""
    reasons: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, images: Iterable[tuple[str, str]]) -> "Unreadable":
        """Paths, each with its reason."""
        found = cls()
        for path, reason in images:
            found.add(path, reason)
        return found

    def __len__(self) -> int:
        return self.reasons.total()

    def add(self, path: str, reason: str) -> None:
        """One more."""
        self.reasons[reason] += 1
        if len(self.first) < SHOWN:
            self.first.append((path, reason))

    def report(self, images: int, allowed: float) -> int:
        """Prints what there is to say.

        Args:
            images: how many there are in all.
            allowed: which fraction of them may be unreadable.

        Returns:
            The exit code: 1 if they are more.
        """
        for path, reason in self.first:
            print(f"  unreadable: {path}: {reason}")
        if len(self) > SHOWN:
            kinds = ", ".join(f"{count} x {reason}" for reason, count in self.reasons.most_common())
            print(f"  … and {len(self) - SHOWN} more ({kinds})")
        too_many = len(self) > allowed * images
        if too_many:
            print(f"More than --max-unreadable {allowed:.1%} are unreadable: mend them or allow more.")
        return int(too_many)
