"""Stacked heads are the heads that plain torch would have trained, one by one.

K heads, B rows in a batch, D features, C classes.
"""

from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional

from headstart.heads import HeadStack, StackedAdam
from headstart.training import cross_entropy

CPU = torch.device("cpu")
D, C, B = 64, 5, 32


@pytest.fixture(autouse=True)
def one_thread():
    """Small matrices: threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def per_head(values):
    return torch.tensor(values, dtype=torch.float32).view(-1, 1, 1)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def train_stack(heads, batches, lrs, decays, dropouts=None, mask_seed=0):
    """What training.py does in a step, here with settings of its own for each head."""
    adam = StackedAdam(heads.parameters(), per_head(lrs), per_head(decays))
    masks = torch.Generator().manual_seed(mask_seed)
    dropout = None if dropouts is None else per_head(dropouts)
    for values, labels in batches:
        parameters = [parameter.requires_grad_() for parameter in heads.parameters()]
        losses = cross_entropy(heads.logits(values, dropout, masks), labels)
        gradients = torch.autograd.grad(losses.sum(), parameters)
        with torch.no_grad():
            adam.step(gradients)


def plain_head(widths, seed):
    """The head of a person who has never heard of stacks."""
    torch.manual_seed(seed)
    linears = [nn.Linear(inputs, outputs) for inputs, outputs in pairwise(widths)]
    modules = [linears[0]]
    for linear in linears[1:]:
        modules += [nn.ReLU(), linear]
    return nn.Sequential(*modules)


def batches_of(count, rows=B):
    """Labels that features decide, so that there is something to learn."""
    truth = draw(D, C, seed=99)
    values = [draw(rows, D, seed=step) for step in range(count)]
    return [(batch, (batch @ truth).argmax(dim=1)) for batch in values]


def largest_relative_difference(stack, number, plain):
    linears = [module for module in plain if isinstance(module, nn.Linear)]
    pairs = []
    for layer, linear in enumerate(linears):
        pairs.append((stack.weights[layer][number].detach().T, linear.weight.detach()))
        pairs.append((stack.biases[layer][number, 0].detach(), linear.bias.detach()))
    scale = max(float(theirs.abs().max()) for _, theirs in pairs)
    return max(float((ours - theirs).abs().max()) for ours, theirs in pairs) / scale


@pytest.mark.parametrize("hidden", [(), (32,), (32, 16)], ids=["linear probe", "one hidden", "two hidden"])
@pytest.mark.parametrize("decays", [(0.0, 0.0, 0.0), (0.0, 1e-2, 0.1)], ids=["no decay", "a decay each"])
def test_heads_of_a_stack_equal_separate_torch_runs_after_200_steps(hidden, decays):
    widths, seeds, lrs = (D, *hidden, C), (3, 1, 2), (1e-3, 3e-3, 1e-4)
    batches = batches_of(200)
    stack = HeadStack(widths, seeds, CPU)
    train_stack(stack, batches, lrs, decays)
    for number, (seed, lr, decay) in enumerate(zip(seeds, lrs, decays, strict=True)):
        plain = plain_head(widths, seed)
        start = plain[0].weight.detach().clone()
        optimizer = torch.optim.Adam(plain.parameters(), lr=lr, weight_decay=decay)
        for values, labels in batches:
            optimizer.zero_grad()
            functional.cross_entropy(plain(values), labels).backward()
            optimizer.step()
        assert (plain[0].weight - start).abs().max() > 10 * lr  # it did train
        assert largest_relative_difference(stack, number, plain) <= 1e-4


def test_the_number_of_heads_does_not_change_a_head():
    batches = batches_of(50)
    alone, among = HeadStack((D, 32, C), [7], CPU), HeadStack((D, 32, C), [5, 7, 6], CPU)
    train_stack(alone, batches, (1e-3,), (1e-3,))
    train_stack(among, batches, (1e-2, 1e-3, 1e-4), (0.0, 1e-3, 0.1))
    for ours, theirs in zip(alone.parameters(), among.parameters(), strict=True):
        torch.testing.assert_close(ours[0], theirs[1], rtol=0, atol=1e-6)


def test_a_head_starts_as_torch_starts_a_linear_layer_to_the_bit():
    stack = HeadStack((D, 32, C), [4, 8], CPU)
    for number, seed in enumerate((4, 8)):
        assert largest_relative_difference(stack, number, plain_head((D, 32, C), seed)) == 0


def test_making_heads_leaves_the_random_state_of_the_program_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    HeadStack((D, 32, C), [4, 8], CPU)
    assert torch.equal(torch.rand(3), expected)


def test_dropout_keeps_the_expectation_of_a_linear_readout():
    """Ones in, an average out: the mean over many masks is the undropped value, whatever the rate."""
    stack = HeadStack((1, 4096, 1), [0, 0, 0], CPU)
    stack.weights = [torch.ones(3, 1, 4096), torch.full((3, 4096, 1), 1 / 4096)]
    stack.biases = [torch.zeros(3, 1, 4096), torch.zeros(3, 1, 1)]
    ones = torch.ones(64, 1)
    dropped = stack.logits(ones, per_head([0.0, 0.4, 0.9]), torch.Generator().manual_seed(0))
    assert torch.equal(stack.logits(ones), torch.ones(3, 64, 1))
    assert torch.equal(dropped[0], torch.ones(64, 1))
    for head in (1, 2):
        assert dropped[head].std() > 0
        assert dropped[head].mean() == pytest.approx(1, abs=0.03)


def test_dropout_silences_the_share_of_units_that_was_asked_for_and_scales_up_the_rest():
    stack = HeadStack((1, 2048, 2048), [0, 0], CPU)
    stack.weights = [torch.ones(2, 1, 2048), torch.eye(2048).expand(2, -1, -1)]
    stack.biases = [torch.zeros(2, 1, 2048), torch.zeros(2, 1, 2048)]
    units = stack.logits(torch.ones(32, 1), per_head([0.25, 0.75]), torch.Generator().manual_seed(0))
    for head, rate in enumerate((0.25, 0.75)):
        assert (units[head] == 0).float().mean() == pytest.approx(rate, abs=0.01)
        torch.testing.assert_close(units[head].max(), torch.tensor(1 / (1 - rate)))


def test_every_row_and_every_head_has_a_mask_of_its_own():
    stack = HeadStack((D, 256, C), [3, 3], CPU)
    same = draw(1, D).expand(8, -1)
    logits = stack.logits(same, per_head([0.5, 0.5]), torch.Generator().manual_seed(0))
    assert len(torch.unique(logits.reshape(16, C), dim=0)) == 16


def test_features_are_never_dropped():
    """The seed's dropout stands behind the ReLU; a linear probe has nothing to drop."""
    probe = HeadStack((D, C), [0], CPU)
    values = draw(B, D)
    assert torch.equal(probe.logits(values, per_head([0.9]), torch.Generator().manual_seed(0)), probe.logits(values))


@pytest.mark.parametrize("hidden", [(), (32,), (32, 16)], ids=["linear probe", "one hidden", "two hidden"])
def test_standardisation_folded_into_the_first_layer_gives_the_same_logits_on_raw_features(hidden):
    """Also where, as in a ResNet50, means are large beside deviations."""
    stack = HeadStack((D, *hidden, C), [0, 1], CPU)
    mean, deviation = 3 + draw(D, seed=1).abs(), 0.01 + 0.1 * draw(D, seed=2).abs()
    raw = mean + deviation * draw(500, D, seed=3)
    for head in (0, 1):
        expected = stack.logits((raw - mean) / deviation)[head]
        with torch.no_grad():
            folded = stack.sequential(head, mean, deviation)(raw)
        assert (folded - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_a_saved_head_is_plain_torch_in_eval_mode_and_can_be_trained_further():
    head = HeadStack((D, 32, C), [0], CPU).sequential(0, torch.zeros(D), torch.ones(D))
    assert [type(module) for module in head] == [nn.Linear, nn.ReLU, nn.Dropout, nn.Linear]
    assert not head.training
    assert all(parameter.requires_grad and parameter.is_leaf for parameter in head.parameters())
    assert sum(parameter.numel() for parameter in head.parameters()) == D * 32 + 32 + 32 * C + C
