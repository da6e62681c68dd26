"""Our kernels for CUDA compute what torch's operations compute, in Triton's interpreter, which needs no GPU."""

import pytest
import torch

from headstart.heads import pointwise

pytest.importorskip("triton", reason="torch brings Triton on Linux alone")


@pytest.fixture
def interpreted(monkeypatch):
    from triton import language
    from triton.runtime.interpreter import InterpretedFunction

    from headstart.heads import pointwise_kernel

    for name in ("_activate", "_slope", "_cross_entropy"):
        monkeypatch.setattr(pointwise_kernel, name, InterpretedFunction(getattr(pointwise_kernel, name).fn))
    combined = {"sum": language.standard._sum_combine, "max": language.standard._elementwise_max}
    for name, how in combined.items():  # they are kernels themselves
        monkeypatch.setattr(language, name, lambda values, axis, how=how: language.reduce(values, axis, how))
    return pointwise_kernel


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def biases(heads, width):
    """As they lie among the parameters of the heads, the other ones beside them."""
    parameters = torch.full((heads, width + 11), torch.nan)
    return parameters[:, 7 : 7 + width].view(heads, 1, width)


SHAPES = pytest.mark.parametrize(("heads", "rows", "width"), [(1, 32, 256), (3, 32, 40), (2, 70, 33), (1, 1, 1)])


@SHAPES
@pytest.mark.parametrize("masks", ["none", "one for all", "a block of several batches"])
def test_relu_and_dropout(interpreted, heads, rows, width, masks):
    hidden = draw(heads, rows, width)
    hidden[0, 0, 0] = torch.nan
    noise = 2.0 * (draw(heads if masks.startswith("a block") else 1, 3 * rows, width, seed=1) > 0)
    mask = 1.0 if masks == "none" else noise.split(rows, 1)[1]
    for found, expected in zip(
        interpreted.activated(hidden.clone(), mask), pointwise.activated(hidden.clone(), mask), strict=True
    ):
        assert torch.equal(found.nan_to_num(9.0), expected.nan_to_num(9.0))


@SHAPES
def test_slopes_and_the_sum_over_the_rows(interpreted, heads, rows, width):
    gradient, slopes = draw(heads, rows, width), draw(heads, rows, width, seed=1)
    sums = [biases(heads, width), biases(heads, width)]
    found, expected = (
        each.sloped(gradient, slopes, own) for each, own in zip((interpreted, pointwise), sums, strict=True)
    )
    assert torch.equal(found, expected)
    torch.testing.assert_close(*sums)


@pytest.mark.parametrize(("heads", "rows", "classes"), [(1, 32, 10), (3, 32, 2), (2, 70, 300), (1, 5, 1000), (2, 1, 1)])
@pytest.mark.parametrize("own", [False, True])
def test_cross_entropy_and_its_gradient(interpreted, heads, rows, classes, own):
    logits, block = 20 * draw(heads, rows, classes), draw(heads if own else 1, 3 * rows, classes, seed=1).softmax(-1)
    targets, sums = block.split(rows, 1)[1] / rows, [biases(heads, classes), biases(heads, classes)]
    logits[-1, 0, 0] = 1e4  # far from the others
    (found, losses), (expected, expected_losses) = (
        each.cross_entropy(logits, targets, of) for each, of in zip((interpreted, pointwise), sums, strict=True)
    )
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(losses, expected_losses)
    torch.testing.assert_close(*sums)


def test_a_head_of_nan_has_a_loss_of_nan_and_leaves_the_others(interpreted):
    logits, targets = draw(2, 4, 3), torch.full((1, 4, 3), 1 / 3)
    logits[1, 2, 0] = torch.nan
    gradient, losses = interpreted.cross_entropy(logits, targets, biases(2, 3))
    assert losses[1].isnan()
    assert losses[0].isfinite()
    assert gradient[0].isfinite().all()
