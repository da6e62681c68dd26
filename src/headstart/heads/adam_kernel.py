"""A step of Adam or AdamW for K heads in one launch, each head with its own rate and weight decay: a Triton kernel.

The arithmetic is that of torch's fused kernel. P parameters of one head.
"""

import math
from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024
"""Parameters that one program of the GPU updates."""


@triton.jit(do_not_specialize_on_alignment=["factor"])  # type: ignore[untyped-decorator, unused-ignore]
def update(  # type: ignore[no-untyped-def]
    parameters,
    gradients,
    means,
    squares,
    steps,
    rates,
    decays,
    factor,
    count,
    beta1: tl.constexpr,
    beta2: tl.constexpr,
    log_beta1: tl.constexpr,
    log_beta2: tl.constexpr,
    eps: tl.constexpr,
    decoupled: tl.constexpr,
    block: tl.constexpr,
):
    """Updates `block` of the `count` parameters of one head; see `step`.

    Source: Kingma and Ba 2015, arXiv:1412.6980, algorithm 1; Loshchilov and Hutter 2019, arXiv:1711.05101, algorithm 2.
    """
    head = tl.program_id(1)
    places = tl.program_id(0) * block + tl.arange(0, block)
    inside = places < count
    here = head.to(tl.int64) * count + places
    rate, decay = tl.load(rates + head) * tl.load(factor), tl.load(decays + head)
    taken = tl.load(steps + head).to(tl.float64)  # in fp32, 1 − 0.999 would have four digits
    correction1 = (1 - tl.exp(taken * log_beta1)).to(tl.float32)
    correction2 = (1 - tl.exp(taken * log_beta2)).to(tl.float32)

    weight, gradient = tl.load(parameters + here, inside), tl.load(gradients + here, inside)
    if decoupled:
        weight -= rate * decay * weight
    else:
        gradient += decay * weight
    mean = beta1 * tl.load(means + here, inside) + (1 - beta1) * gradient
    square = beta2 * tl.load(squares + here, inside) + (1 - beta2) * gradient * gradient
    weight -= rate / correction1 * mean / (tl.sqrt(square) / tl.sqrt(correction2) + eps)
    tl.store(means + here, mean, inside)
    tl.store(squares + here, square, inside)
    tl.store(parameters + here, weight, inside)


def step(
    tensors: Sequence[Tensor], rates: Tensor, decays: Tensor, betas: Sequence[float], decoupled: bool, factor: Tensor
) -> None:
    """One step of all heads.

    Args:
        tensors: parameters, gradients, their running means and squares, (K, P) each, without gaps; the number of steps
            taken, this one included, (K,).
        rates: (K,), of which `factor` () is taken.
        decays: (K,), added to the gradients as in Adam, or, if `decoupled`, taken from the parameters as in AdamW.
        betas: beta1, beta2 and eps.
    """
    heads, count = tensors[0].shape
    beta1, beta2, eps = betas
    grid = (triton.cdiv(count, BLOCK), heads)
    logarithms = math.log(beta1), math.log(beta2)
    update[grid](*tensors, rates, decays, factor, count, beta1, beta2, *logarithms, eps, decoupled, BLOCK)


def try_out() -> None:
    """Raises what Triton raises where it cannot compile a kernel for the GPU, such as without a C compiler."""
    row, one = torch.zeros((1, 1), device="cuda"), torch.ones(1, device="cuda")
    step((row, row, row, row, one), one, one, (0.9, 0.999, 1e-8), False, one[0])
