"""Whether a gain is worth its price: at least so many points, by two one-sided tests."""

from dataclasses import dataclass
from typing import Literal

from headstart.report.paired import Difference
from headstart.support.quantities import points


@dataclass(frozen=True)
class Worth:
    """The answer to `--worth`; an entry of compare.json."""

    points: float
    """What fine-tuning must gain to be worth it."""
    decision: Literal["worth it", "not worth it", "undecided"]
    gain_ci90: tuple[float, float]
    """In points. Each of its ends is the bound of a one-sided test at 5%: less than the upper, more than the lower."""
    of_methods: bool
    """Whether it is about the methods; else about two nets, and another seed may differ."""

    def sentence(self) -> str:
        """`Fine-tuning gains at most 0.8 points: not worth it, if it must gain 1 point.`"""
        low, high = self.gain_ci90
        must = f", if it must gain {self.points:g} point{'s' * (self.points != 1)}"
        if not self.of_methods:
            nets = f"the fine-tuned one of these nets gains between {low:+.1f} and {high:+.1f} points"
            return f"Undecided{must}: {nets} (90% interval), and other seeds may differ."
        if self.decision == "undecided":
            return f"Undecided{must}: it gains between {low:+.1f} and {high:+.1f} points (90% interval)."
        if self.decision == "worth it":
            return f"Fine-tuning gains at least {points(low)} points: worth it{must}."
        most = f"gains at most {points(high)} points" if high > 0 else f"loses at least {points(-high)} points"
        return f"Fine-tuning {most}: not worth it{must}."


def worth(difference: Difference, wanted: float, of_methods: bool) -> Worth:
    """Decides by two one-sided tests at 5%, which are the ends of the 90% interval; never from few runs of a method.

    Source: Schuirmann 1987, doi:10.1007/BF01068419.
    """
    low, high = difference.points_ci90
    decision: Literal["worth it", "not worth it", "undecided"] = "undecided"
    if of_methods and not low <= wanted <= high:
        decision = "worth it" if low > wanted else "not worth it"
    return Worth(wanted, decision, difference.points_ci90, of_methods)
