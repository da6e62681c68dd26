"""Learning rate over the steps of a training."""

import math


def rate_factor(step: int, steps: int, warmup: float, schedule: str) -> float:
    """What the learning rate is multiplied by.

    Args:
        step: 0 … steps − 1.
        steps: of the whole training.
        warmup: fraction of them in which the rate rises in a line.
        schedule: constant, or cosine: down to 0. Source: Loshchilov and Hutter 2017, arXiv:1608.03983, equation 5.
    """
    rising = warmup * steps
    if step < rising:
        return min(1.0, (step + 1) / rising)
    if schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))
