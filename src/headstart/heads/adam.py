"""Adam and AdamW for K heads at once: torch's fused kernel, called without the work that torch.optim does in each step.

With torch.optim.Adam(fused=True) instead, one head trains at 0.87 times this speed, and 64 heads at 0.95 times (2 cores
of AMD Zen 4, 10 alternating pairs). P parameters of one head.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from headstart.settings import HeadConfig

KERNELS: dict[str, Callable[..., None]] = {"adam": torch._fused_adam_, "adamw": torch._fused_adamw_}
DEFAULTS = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "amsgrad": False, "maximize": False}
"""As in torch.optim. Source: Kingma and Ba 2015, arXiv:1412.6980, algorithm 1."""


class StackedAdam:
    """An optimiser with a learning rate and a weight decay for each head."""

    def __init__(
        self, parameters: Tensor, gradients: Tensor, configs: Sequence[HeadConfig], state: Sequence[Tensor] = ()
    ) -> None:
        """Changes parameters (K, P), gradients (K, P) and state in place; all configs name the same optimiser."""
        zeros, steps = torch.zeros_like(parameters), torch.zeros(len(parameters), device=parameters.device)
        self.parameters, self.gradients, self.kernel = parameters, gradients, KERNELS[configs[0].optimizer]
        self.state = state or (zeros, zeros.clone(), steps)
        means, squares, steps = self.state  # running means of gradients and of their squares, (K, P); (K,)
        groups = defaultdict(list)
        for head, config in enumerate(configs):
            groups[config.lr, config.weight_decay].append(head)
        tensors = (parameters, gradients, means, squares)
        self._groups = [
            (*rates, [[tensor[head] for head in heads] for tensor in tensors], [steps[head] for head in heads])
            for rates, heads in groups.items()
        ]

    def step(self, factor: float) -> None:
        """One step of all heads, at `factor` times their learning rates."""
        self.state[-1].add_(1)
        for lr, weight_decay, rows, steps in self._groups:
            self.kernel(*rows, [], steps, lr=factor * lr, weight_decay=weight_decay, **DEFAULTS)
