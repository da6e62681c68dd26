"""How the CPU multiplies matrices of fp32."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache

import torch


def fast_products() -> AbstractContextManager[None]:
    """Lets oneDNN multiply matrices on the CPU where it keeps fp32: 1.9 times as fast as MKL on AMD's Zen 5.

    torch has no such setting without permission to round to bf16, which oneDNN uses only on processors with AMX.
    """
    return _bf16_allowed() if _onednn_keeps_fp32() else nullcontext()


@contextmanager
def _bf16_allowed() -> Iterator[None]:
    setting = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = setting.fp32_precision
    setting.fp32_precision = "bf16"
    try:
        yield
    finally:
        setting.fp32_precision = before


@cache
def _onednn_keeps_fp32() -> bool:
    """Whether a product has the accuracy of fp32 even when bf16, whose error is 2^-9, is allowed."""
    if not torch.backends.mkldnn.is_available():
        return False
    generator = torch.Generator().manual_seed(0)
    one, other = torch.rand((64, 2048), generator=generator), torch.rand((2048, 256), generator=generator)
    with _bf16_allowed():
        product = one @ other
    return bool(torch.allclose(product.double(), one.double() @ other.double(), rtol=1e-5))
