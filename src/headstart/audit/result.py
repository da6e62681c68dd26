"""All that an audit found."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from headstart.audit.copies import LEAST_PX
from headstart.audit.finding import Finding
from headstart.audit.gain import FEWEST, Gain
from headstart.support.quantities import counted


@dataclass(frozen=True)
class Result:
    """What an audit found."""

    findings: list[Finding]
    expected_wrong: int | None  # labels; None where nothing could be asked
    labelled: int  # images whose label was judged
    unjudged: int  # images whose label no model could judge
    images: int
    uncompared: int  # pictures that could not be read, or are too small to be compared
    gain: Gain | None

    def lines(self) -> Iterator[str]:
        """For a terminal."""
        counts = Counter(each.kind for each in self.findings)
        for kind, count in counts.items():
            yield f"{kind}: {count:,}"
        if not counts:
            yield "Nothing was found."
        if self.expected_wrong is not None:
            share = self.expected_wrong / max(1, self.labelled)
            yield f"Expected to be wrong: {self.expected_wrong:,} of {self.labelled:,} labels ({share:.1%})."
        if self.unjudged:
            yield (
                f"{counted(self.unjudged, 'label')} cannot be judged: there are too few images, or no group but their "
                "own has images of their class."
            )
        if self.uncompared:
            yield (
                f"{counted(self.uncompared, 'picture')} could not be read now, or are smaller than {LEAST_PX} pixels: "
                "their copies are known by their bytes alone."
            )
        if self.gain:
            yield self.gain.in_words()
        elif any(each.fix for each in self.findings):
            yield f"What a cleaned list gains cannot be told: train, val and {FEWEST} test images are needed for it."
