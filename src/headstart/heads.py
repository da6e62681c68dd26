"""MLP heads on features: K of them stacked along one axis, trained as one computation.

K heads, B rows in a batch, D = 2048 features, C classes.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


class HeadStack:
    """K heads of one shape: weights (K, in, out), biases (K, 1, out), one layer after another.

    Attributes:
        weights: one tensor for each layer, (K, in, out).
        biases: one tensor for each layer, (K, 1, out).
    """

    def __init__(self, widths: Sequence[int], seeds: Sequence[int], device: torch.device) -> None:
        """Draws initial weights as `nn.Linear` does, each head from its own seed, so that K does not change a head.

        Args:
            widths: D, the hidden layers', C.
            seeds: K seeds.
            device: where the heads live.
        """
        heads = [_linears(widths, seed) for seed in seeds]
        layers = range(len(widths) - 1)
        self.weights = [torch.stack([head[layer].weight.T for head in heads]).to(device) for layer in layers]
        self.biases = [torch.stack([head[layer].bias[None] for head in heads]).to(device) for layer in layers]

    def parameters(self) -> list[Tensor]:
        """All tensors that training changes."""
        return [*self.weights, *self.biases]

    def logits(
        self, features: Tensor, dropout: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Scores of every head for the same rows.

        Args:
            features: (B, D), normalised.
            dropout: (K, 1, 1) probabilities, in training; None in evaluation.
            generator: of the dropout masks.

        Returns:
            (K, B, C).
        """
        hidden = features.expand(len(self.weights[0]), -1, -1)
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            hidden = torch.baddbmm(bias, hidden, weight).relu()
            if dropout is not None:
                hidden = _drop(hidden, dropout, generator)
        return torch.baddbmm(self.biases[-1], hidden, self.weights[-1])

    def sequential(self, head: int, mean: Tensor, deviation: Tensor) -> nn.Sequential:
        """One head as plain torch, which takes features as they are in the cache.

        W(x − μ)/σ + b = (W/σ)x + (b − Wμ/σ): the standardisation becomes part of the first layer.

        Args:
            head: which of the K.
            mean: (D,) subtracted from features in training.
            deviation: (D,) that they were divided by.

        Returns:
            Linear, ReLU, Dropout, …, Linear, in eval mode, on the CPU.
        """
        modules: list[nn.Module] = []
        for layer, (weights, biases) in enumerate(zip(self.weights, self.biases, strict=True)):
            weight, bias = weights[head].T.double().cpu(), biases[head, 0].double().cpu()
            if layer == 0:
                weight = weight / deviation.double().cpu()
                bias = bias - weight @ mean.double().cpu()
            modules += [nn.ReLU(), nn.Dropout()] if modules else []
            modules.append(_linear_of(weight.float(), bias.float()))
        return nn.Sequential(*modules).eval()


def _linears(widths: Sequence[int], seed: int) -> list[nn.Linear]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return [nn.Linear(inputs, outputs).requires_grad_(False) for inputs, outputs in pairwise(widths)]


def _drop(hidden: Tensor, dropout: Tensor, generator: torch.Generator | None) -> Tensor:
    """Dropout with a probability for each head. Source: Srivastava et al. 2014, JMLR 15, section 10 (inverted)."""
    kept = torch.rand(hidden.shape, generator=generator, device=hidden.device) >= dropout
    return hidden * kept / (1 - dropout)


def _linear_of(weight: Tensor, bias: Tensor) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        linear.weight.copy_(weight)
        linear.bias.copy_(bias)
    return linear


class StackedAdam:
    """Adam for K heads at once, learning rate and weight decay of each head its own.

    Source: Kingma and Ba 2015, arXiv:1412.6980, algorithm 1, with the L2 penalty of torch.optim.Adam.
    """

    BETAS = (0.9, 0.999)
    EPSILON = 1e-8

    def __init__(self, parameters: Sequence[Tensor], lr: Tensor, weight_decay: Tensor) -> None:
        """Starts with empty moments.

        Args:
            parameters: tensors (K, …).
            lr: (K, 1, 1).
            weight_decay: (K, 1, 1).
        """
        self.parameters, self.lr, self.weight_decay = list(parameters), lr, weight_decay
        self.decays = bool((weight_decay > 0).any())
        self.steps = 0
        self.first = [torch.zeros_like(parameter) for parameter in parameters]
        self.second = [torch.zeros_like(parameter) for parameter in parameters]

    def step(self, gradients: Sequence[Tensor]) -> None:
        """Moves every parameter once.

        Args:
            gradients: one for each parameter, of its shape.
        """
        self.steps += 1
        beta1, beta2 = self.BETAS
        for parameter, gradient, first, second in zip(self.parameters, gradients, self.first, self.second, strict=True):
            if self.decays:
                gradient = gradient + self.weight_decay * parameter
            first.lerp_(gradient, 1 - beta1)
            second.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
            scale = (second / (1 - beta2**self.steps)).sqrt_().add_(self.EPSILON)
            parameter.addcdiv_(-self.lr / (1 - beta1**self.steps) * first, scale)
