"""The plane of the principal components, against numpy's singular value decomposition."""

import numpy as np
import pytest

from headstart.report.sections import principal_plane


@pytest.mark.parametrize("shape", [(60, 5), (30, 200), (3, 7)])
def test_the_plane_is_that_of_the_singular_value_decomposition(shape):
    features = np.random.default_rng(0).normal(size=shape) * np.arange(1, shape[1] + 1) + 100
    plane, shares = principal_plane(features)
    centred = features - features.mean(axis=0)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    expected = left[:, :2] * values[:2]
    signs = np.sign((plane * expected).sum(axis=0))
    np.testing.assert_allclose(plane, expected * signs, atol=1e-8 * values[0])
    np.testing.assert_allclose(shares, values[:2] ** 2 / (values**2).sum())


@pytest.mark.parametrize("seed", range(10))
def test_the_map_does_not_flip(seed):
    plane, _ = principal_plane(np.random.default_rng(seed).normal(size=(20, 6)))
    assert (plane.max(axis=0) >= -plane.min(axis=0)).all()


def test_features_that_never_change_lie_on_one_point():
    plane, shares = principal_plane(np.full((5, 8), 3, np.float16))
    assert not plane.any()
    assert not shares.any()
