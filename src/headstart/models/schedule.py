"""Learning rate over the steps of a training."""

import math


def rate_factor(step: int, steps: int, warmup: float, schedule: str) -> float:
    """Factor of the learning rate in step 0 … steps − 1; it rises in a line for the fraction `warmup` of the steps.

    Source of the cosine, which then falls to 0: Loshchilov and Hutter 2017, arXiv:1608.03983, equation 5.
    """
    rising = warmup * steps
    if step < rising:
        return min(1.0, (step + 1) / rising)
    if schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))
