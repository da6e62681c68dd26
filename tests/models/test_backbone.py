"""What a function of one's own returns: every value is checked where it is given, in words that name it."""

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.transforms import InterpolationMode

from headstart.errors import BackboneError
from headstart.models.backbone import Backbone

NET = nn.Flatten()


@pytest.mark.parametrize("values", [[0.5, 0.25, 0], np.array([0.5, 0.25, 0], np.float32), torch.tensor([0.5, 0.25, 0])])
def test_mean_and_deviation_may_be_anything_that_holds_three_numbers(values):
    """The recipe of a cache compares them, so that a list must be equal to the tuple that was stored."""
    made = Backbone(NET, mean=values, std=[1, 1, 1])
    assert made.mean == (0.5, 0.25, 0.0)
    assert made.std == (1.0, 1.0, 1.0)
    assert made == Backbone(NET, mean=(0.5, 0.25, 0.0), std=(1, 1, 1))


def test_sizes_may_be_whole_numbers_of_any_kind():
    made = Backbone(NET, image_px=np.int64(224), shorter_px=224 / 0.875)
    assert (made.image_px, made.shorter_px) == (224, 256)
    assert {type(made.image_px), type(made.shorter_px)} == {int}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"net": len}, "net is a builtin_function_or_method, but must be a torch.nn.Module"),
        ({"image_px": (32, 48)}, r"image_px is \(32, 48\), but must be a whole number, at least 8"),
        ({"image_px": "32"}, "image_px is 32, but must be a whole number"),
        ({"image_px": 0}, "image_px is 0"),
        ({"image_px": float("nan")}, "image_px is nan"),
        ({"shorter_px": 200}, r"shorter_px is 200, but must be .* at least 224 \(of a crop fraction f"),
        ({"shorter_px": 224 / 0.9}, r"shorter_px is 248.8.*int\(image_px / f\)"),
        ({"shorter_px": 0}, "shorter_px is 0"),
        ({"shorter_px": 0, "resize": "squash"}, "shorter_px is 0, .* at least 1 "),
        ({"interpolation": "bicubik"}, r"interpolation is bicubik.*one of the words .*Did you mean bicubic\?"),
        ({"interpolation": InterpolationMode.BICUBIC}, "interpolation is InterpolationMode.BICUBIC, but must be"),
        ({"resize": "pad"}, "resize is pad, but must be one of the words crop, squash"),
        ({"mean": 0.5}, "mean is 0.5, but must be three numbers"),
        ({"mean": (0.5,)}, "mean is .0.5,., but must be three numbers"),
        ({"mean": (123.675, 116.28, 103.53)}, "divide those for pixels up to 255 by 255"),
        ({"std": (0, 1, 1)}, r"std is \(0, 1, 1\), but must be three numbers above 0"),
        ({"std": (float("nan"), 1, 1)}, "std is .nan"),
    ],
)
def test_a_value_that_cannot_be_is_named_with_what_it_must_be(values, words):
    with pytest.raises(BackboneError, match=words):
        Backbone(**{"net": NET, **values})
