"""Features pooled from the tokens of a transformer. B images, T tokens, D features."""

import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from headstart.errors import BackboneError
from headstart.settings.ranges import Pool


class TokenPool(nn.Module):
    """A transformer whose features are pooled from its last tokens, after its last norm, in another way than its own.

    Tokens are read by `forward_features` and `num_prefix_tokens`, as timm names them, or are those of torchvision's
    VisionTransformer.
    """

    def __init__(self, net: nn.Module, pool: Pool, name: str) -> None:
        super().__init__()
        prefix = 1 if isinstance(net, VisionTransformer) else getattr(net, "num_prefix_tokens", 0)
        if not (isinstance(net, VisionTransformer) or hasattr(net, "forward_features")):
            raise BackboneError(f"{name} has no tokens to pool: leave --pool out.")
        words = [parameter.rpartition(".")[2] for parameter, _ in net.named_parameters()]
        has_class_token = any(word.startswith(("cls_token", "class_token")) for word in words)
        if has_class_token and not prefix:
            raise BackboneError(f"{name} does not say which of its tokens is the class token: leave --pool out.")
        if "cls" in pool and not has_class_token:  # the first tokens may be registers
            raise BackboneError(f"{name} has no class token: use --pool avg, or leave it out.")
        self.net, self.pool, self.prefix, self.name = net, pool, prefix, name

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) → (B, D); (B, 2 D) for cls+avg."""
        tokens = self._tokens(pixels)
        if tokens.ndim != 3:
            raise BackboneError(f"{self.name} has no tokens to pool: leave --pool out.")
        parts = {"cls": tokens[:, 0], "avg": tokens[:, self.prefix :].mean(dim=1)}
        return torch.cat([parts[part] for part in self.pool.split("+")], dim=1)

    def _tokens(self, pixels: Tensor) -> Tensor:
        """(B, T, D)"""
        if not isinstance(self.net, VisionTransformer):
            return self.net.forward_features(pixels)  # type: ignore[no-any-return, operator]
        patches = self.net._process_input(pixels)
        first = self.net.class_token.expand(len(patches), -1, -1)
        return self.net.encoder(torch.cat([first, patches], dim=1))  # type: ignore[no-any-return]
