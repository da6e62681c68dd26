"""Work on separate cores: all of it, each by one thread, and errors as if it were done here."""

import threading

import pytest
import torch

from headstart.support import apart as module
from headstart.support.apart import apart


@pytest.fixture(autouse=True)
def two(monkeypatch):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def test_all_is_done_once_by_one_of_torchs_threads_and_without_gradients():
    seen = []
    apart(
        [lambda own=number: seen.append((own, torch.get_num_threads(), torch.is_grad_enabled())) for number in range(9)]
    )
    assert sorted(seen) == [(number, 1, False) for number in range(9)]
    assert torch.is_grad_enabled()


def test_as_much_at_once_as_torch_has_threads():
    together = threading.Barrier(2, timeout=20)
    apart([together.wait, together.wait])


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_is_raised_here_and_nothing_further_begins(error, monkeypatch):
    monkeypatch.setattr(module, "MOST", 1)
    seen = []

    def fail():
        raise error("stop")

    def note():
        seen.append(threading.get_ident())

    with pytest.raises(error, match="stop"):
        apart([note, fail, *[note] * 10_000])
    assert 1 <= len(seen) < 10_000
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("apart")]


def test_threads_that_begin_later_have_all_of_torchs_threads_again():
    """A user's own threads, too: torch gives a new one the number that was set last, by whichever thread."""
    apart([lambda: None, lambda: None])
    seen = []

    def compute():
        torch.ones(8).sum()
        seen.append(torch.get_num_threads())

    thread = threading.Thread(target=compute)
    thread.start()
    thread.join()
    assert seen == [2]
