"""Faster products are still products in fp32, and the program's own setting comes back."""

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.support import matmul
from headstart.support.matmul import fast_products

CPU = torch.device("cpu")
MATMUL = torch.backends.mkldnn.matmul
PRECISIONS = ["none", "ieee", "tf32", "bf16"]


@pytest.fixture(autouse=True)
def undecided() -> Iterator[None]:
    """Each test starts from torch's default, and leaves what it found."""
    before, MATMUL.fp32_precision = MATMUL.fp32_precision, "none"
    yield
    MATMUL.fp32_precision = before


def uniform(*shape: int, seed: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@settings(deadline=None, max_examples=30)
@given(
    heads=st.integers(1, 4),
    rows=st.sampled_from([1, 2, 31, 32, 33, 64]),
    inputs=st.sampled_from([1, 3, 16, 256, 2048]),
    outputs=st.sampled_from([1, 2, 10, 64, 257]),
)
def test_products_are_exact_to_fp32_in_every_form_that_training_uses(heads, rows, inputs, outputs):
    """Whatever was chosen on this machine: rounding to bf16 would be a thousand times as far off."""
    values, weights, bias = (
        uniform(rows, inputs, seed=0),
        uniform(heads, inputs, outputs, seed=1),
        uniform(outputs, seed=2),
    )
    shared = values.expand(heads, -1, -1)
    exact = values.double() @ weights.double()
    backward = values.double().T @ exact
    with fast_products(CPU):
        forms = {
            "one": (values @ weights[0], exact[0]),
            "stacked": (torch.bmm(shared, weights), exact),
            "with bias": (torch.baddbmm(bias, shared, weights), exact + bias.double()),
            "transposed": (torch.bmm(shared.mT, exact.float()), backward),
            "by the weights": (torch.bmm(exact.float(), weights.mT), exact @ weights.double().mT),
        }
    for found, expected in forms.values():
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_setting_of_the_program_comes_back(precision):
    MATMUL.fp32_precision = precision
    with fast_products(CPU), fast_products(CPU):
        pass
    assert MATMUL.fp32_precision == precision


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_setting_of_the_program_comes_back_after_an_exception_too(precision):
    MATMUL.fp32_precision = precision
    with pytest.raises(ZeroDivisionError), fast_products(CPU):
        1 / 0  # noqa: B018
    assert MATMUL.fp32_precision == precision


def test_where_products_would_be_rounded_nothing_is_changed(monkeypatch):
    monkeypatch.setattr(matmul, "_keeps_fp32", lambda: False)
    with fast_products(CPU):
        assert MATMUL.fp32_precision == "none"


def test_a_processor_that_rounds_to_bf16_is_noticed(monkeypatch):
    """One with AMX, played by a product that rounds where it has leave to."""
    exact = torch.Tensor.__matmul__

    def rounding(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        if one.dtype == torch.float32 and MATMUL.fp32_precision == "bf16":
            return exact(one.bfloat16().float(), other.bfloat16().float())
        return exact(one, other)

    monkeypatch.setattr(torch.Tensor, "__matmul__", rounding)
    assert not matmul._keeps_fp32.__wrapped__()
    assert MATMUL.fp32_precision == "none"


def test_without_onednn_nothing_is_changed(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert not matmul._keeps_fp32.__wrapped__()


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_on_other_devices_nothing_is_changed(monkeypatch, device):
    """torch.compile tells programs apart by this setting, and none of them multiplies on the CPU."""
    monkeypatch.setattr(matmul, "_keeps_fp32", lambda: True)
    with fast_products(torch.device(device)):
        assert MATMUL.fp32_precision == "none"
    with fast_products(CPU):
        assert MATMUL.fp32_precision == "bf16"
