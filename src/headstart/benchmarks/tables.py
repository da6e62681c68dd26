"""The figures of a benchmark as lines for a terminal."""

import statistics
from collections.abc import Mapping

from headstart.benchmarks.rounds import Rates, ratio
from headstart.support.quantities import counted, duration

BASELINES = {
    "ours": "plain",
    "predicting": "ours",
    "decode from tar": "decode ceiling",
    "cache write": "numpy.tofile",
    "cache load": "numpy.fromfile",
    "cache load, verified": "numpy.fromfile",
    "one head": "plain loop",
    "one head, 9 views": "one head",
    "64 heads": "plain loop",
    "64 heads, halving": "plain loop",
    "fine-tuning": "plain fine-tuning",
    "backbone: fp32 compiled": "backbone: OpenVINO fp32",
    "backbone: int8": "backbone: OpenVINO int8",
    "backbone:": "backbone: fp32 eager",
    "process:": "process: plain",
}
"""The contestant that another is compared with, or all others whose names begin in that way."""
TOGETHER = "all in one pass"
"""The contestant that fills the caches of several backbones."""
EPOCHS = 10  # of an experiment


def table(rates: Rates) -> list[str]:
    """Median rates, their ranges, and the ratios to `BASELINES`."""
    width = max(22, *(len(name) + 1 for name in rates))
    lines = [f"{'':{width}}{'median':>10}{'':>10}{'slowest':>9} to {'fastest':<9}ratio"]
    for name, values in rates.items():
        compared = comparison(rates, name)
        median, low, high = (_number(value) for value in (statistics.median(values), min(values), max(values)))
        lines.append(f"{name:{width}}{median:>10} {_unit(name):9}{low:>9} to {high:<9}{compared}")
    return lines


def comparison(rates: Rates, name: str) -> str:
    """Such as "1.50 x plain"; empty where a contestant is compared with none of those that ran."""
    for key in (name, name.partition(":")[0] + ":"):
        if (baseline := BASELINES.get(key)) in rates and baseline != name:
            return f"{ratio(rates, name, baseline):.2f} x {baseline}"
    return ""


def left_out(reasons: Mapping[str, str]) -> list[str]:
    """A line for each reason why contestants do not run; the reason of the others is empty."""
    lines = []
    for reason in dict.fromkeys(filter(None, reasons.values())):
        names = ", ".join(name for name, other in reasons.items() if other == reason)
        lines.append(f"left out: {names}: {reason}")
    return lines


def _unit(name: str) -> str:
    if name.startswith(("cache", "numpy")):
        return "GB/s"
    return "rows/s" if "head" in name or name == "plain loop" else "images/s"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.2f}"


def limits(rates: Rates) -> list[str]:
    """Share that the pass reaches of what decoding and backbone allow.

    On a CPU they share the cores, so the limit is 1 / (1/backbone + 1/decode); on a GPU it is the smaller of the two.
    """
    pairs = list(zip(rates["backbone ceiling"], rates["decode ceiling"], strict=True))
    ceilings = {
        "both ceilings on the same cores": [1 / (1 / backbone + 1 / decode) for backbone, decode in pairs],
        "the lower ceiling": [min(pair) for pair in pairs],
    }
    return [
        f"ours reaches {ratio({'ours': rates['ours'], 'limit': values}, 'ours', 'limit'):.2f} of {what}"
        for what, values in ceilings.items()
    ]


def limit_of_several(rates: Rates) -> str:
    """The time of the pass against the sum of the times of the backbones alone and of decoding each image once."""
    parts = [values for name, values in rates.items() if name != TOGETHER]
    sums = [1 / sum(1 / rate for rate in of_a_round) for of_a_round in zip(*parts, strict=True)]
    taken = ratio({"sum": sums, TOGETHER: rates[TOGETHER]}, "sum", TOGETHER)
    return f"{TOGETHER} takes {taken:.3f} of the time of the backbones alone and of decoding once, one after the other"


def costs(rates: Rates, images: int) -> list[str]:
    """Time of experiments of `EPOCHS` epochs: with the backbone run in every epoch, and with kept features."""
    every, once, head = (statistics.median(rates[name]) for name in ("backbone each epoch", "ours", "one head"))
    again, further = EPOCHS * images / every, EPOCHS * images / head
    lines = [f"{f'{EPOCHS} epochs on {images:,} images':32}{'backbone each epoch':>20}{'ours':>14}{'ratio':>10}"]
    for count in (1, 10, 100):
        slow, fast = count * again, images / once + count * further
        lines.append(f"{counted(count, 'experiment'):32}{duration(slow):>20}{duration(fast):>14}{slow / fast:>10,.0f}")
    return [*lines, f"{'every further one':32}{duration(again):>20}{duration(further):>14}{again / further:>10,.0f}"]
