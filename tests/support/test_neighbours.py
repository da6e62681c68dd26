"""Nearest neighbours are exact: those of sorting all similarities, whatever the blocks, for arrays and tensors."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from headstart.support.neighbours import nearest

LIBRARIES = pytest.mark.parametrize("convert", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])


@LIBRARIES
@given(
    queries=st.integers(0, 9),
    sizes=st.lists(st.integers(1, 20), min_size=1, max_size=6),
    count=st.integers(1, 30),
    seed=st.integers(0, 99),
)
def test_neighbours_are_those_of_sorting_all_rows(convert, queries, sizes, count, seed):
    similarities = np.random.default_rng(seed).random((queries, sum(sizes)), np.float32)
    blocks = np.split(similarities, np.cumsum(sizes)[:-1], axis=1)
    values, positions = nearest(map(convert, blocks), count)
    order = np.argsort(-similarities, axis=1)[:, :count]
    assert np.array_equal(positions, order)
    assert np.array_equal(values, np.take_along_axis(similarities, order, axis=1))


@pytest.mark.parametrize("sizes", [(6,), (3, 3), (1, 5)])
def test_of_equal_rows_the_first_is_the_nearest(sizes):
    similarities = np.array([[0, 1, 1, 0, 1, 1], [2, 2, 2, 2, 2, 2]], np.float32)
    blocks = np.split(similarities, np.cumsum(sizes)[:-1], axis=1)
    assert nearest(blocks, 1)[1].tolist() == [[1], [0]]
