"""What a function of one's own says of its pixels is refused where they cannot be made so."""

import numpy as np
import pytest
import torch
from torch import nn

from headstart import Backbone
from headstart.errors import BackboneError


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"interpolation": "cubic"}, "interpolation is 'cubic', but must be one of nearest, box, bilinear"),
        ({"image_px": 28}, "image_px is 28, but must be at least 32"),
        ({"shorter_px": 200}, "shorter_px is 200, but must be at least image_px, 224, which it holds"),
        ({"resize": "pad"}, "resize is 'pad', but must be one of crop, squash"),
        ({"mean": (0.5,)}, r"mean is \(0\.5,\) and std .* three numbers each"),
        ({"std": (0, 1, 1)}, r"mean is .* and std \(0\.0, 1\.0, 1\.0\), .* those of std above 0"),
    ],
)
def test_pixels_that_cannot_be_made_are_refused_in_a_sentence(said, words):
    with pytest.raises(BackboneError, match=f"headstart.Backbone: {words}"):
        Backbone(nn.Flatten(), **said)


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
def test_mean_and_deviation_may_be_any_three_numbers(kind):
    """A recipe keeps them as JSON, and compares them."""
    made = Backbone(nn.Flatten(), mean=kind([0.5, 0.25, 0.125]), std=kind([1, 1, 2]))
    assert (made.mean, made.std) == ((0.5, 0.25, 0.125), (1.0, 1.0, 2.0))


def test_a_picture_that_is_squashed_has_no_shorter_side():
    assert Backbone(nn.Flatten(), shorter_px=100, resize="squash").image_px == 224
