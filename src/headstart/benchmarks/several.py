"""One pass that fills the caches of several backbones, against what its parts allow. Rates are images per second."""

from collections.abc import Sequence

from headstart.benchmarks.extraction import Extraction, filling
from headstart.benchmarks.rounds import Contestant, Rates, ratio

TOGETHER, DECODING = "all in one pass", "decode ceiling"


def contestants(extractions: Sequence[Extraction]) -> dict[str, Contestant]:
    """The pass, each backbone alone on one batch in memory, and decoding once for all; what compiles has compiled."""
    ceilings = {f"ceiling {each.recipe.backbone}": each.backbone_ceiling for each in extractions}
    for ceiling in ceilings.values():
        ceiling()
    return {
        TOGETHER: lambda: filling(extractions)[0],
        **ceilings,
        DECODING: lambda: extractions[0].decode_ceiling(*extractions[1:]),
    }


def limit(rates: Rates) -> str:
    """The time of the pass against the sum of the times of the backbones alone and of decoding each image once."""
    parts = [values for name, values in rates.items() if name != TOGETHER]
    sums = [1 / sum(1 / rate for rate in of_a_round) for of_a_round in zip(*parts, strict=True)]
    taken = ratio({"sum": sums, TOGETHER: rates[TOGETHER]}, "sum", TOGETHER)
    return f"{TOGETHER} takes {taken:.3f} of the time of the backbones alone and of decoding once, one after the other"
