"""Images that are unlike all others."""

import numpy as np
from helpers.caches import manifest

from headstart.audit.outliers import findings
from headstart.search.neighbours import Neighbours


def test_the_farthest_hundredth_is_named_the_farthest_first():
    generator = np.random.default_rng(0)
    cosines = generator.uniform(0.5, 0.9, (200, 5)).astype(np.float32)
    cosines[150], cosines[20] = 0.1, 0.2
    found = findings(Neighbours(cosines, np.zeros((200, 5), np.int64)), manifest(200), np.arange(200))
    assert [each.path for each in found] == ["00150.jpg", "00020.jpg"]
    assert [round(each.sure, 3) for each in found] == [0.9, 0.8]
    assert "among the 2 of 200 images" in found[0].what


def test_few_images_have_no_outliers():
    assert (
        findings(Neighbours(np.zeros((40, 2), np.float32), np.zeros((40, 2), np.int64)), manifest(40), np.arange(40))
        == []
    )
