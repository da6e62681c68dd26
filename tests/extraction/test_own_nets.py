"""Nets of one's own in a pass: whatever they do is told in a sentence that says which net and which image."""

import sys
import warnings
from dataclasses import replace

import pytest
from helpers.extraction import config
from helpers.pictures import picture

from headstart.cache.feature_cache import FeatureCache
from headstart.errors import BackboneError, CacheError, DataError, WeightsError
from headstart.extraction import extractor, precision, updating
from headstart.extraction.verification import storage_cost
from headstart.settings import FEATURES_FOLDER, InspectConfig

MODULE = "nets_that_do_as_they_like"
TEXT = """
import torch
import headstart

class Net(torch.nn.Module):
    def __init__(self, brightest):
        super().__init__()
        torch.manual_seed(1)
        self.brightest, self.table = brightest, torch.randn(3, 4)  # which is no buffer, and so stays in fp32

    def forward(self, pixels):
        means = pixels.mean(dim=(2, 3))
        return self.brightest(means, means.amax(dim=1, keepdim=True) > 0.9) @ self.table

def _fails(means, bright):
    if bright.any():
        raise RuntimeError("a bright picture\\nis too much")
    return means

def of(function):
    return headstart.Backbone(Net(function), image_px=32, mean=[0, 0, 0], std=[1, 1, 1])

def fails():
    return of(_fails)

def infinite():
    return of(lambda means, bright: torch.where(bright, torch.inf, means))

def sound():
    return of(lambda means, bright: means)

def drawn():
    made = sound()
    torch.seed()
    made.net.layer = torch.nn.Linear(2, 2)
    return made
"""

MORE = """
class Plain(torch.nn.Module):
    def forward(self, pixels):
        return pixels.mean(dim=(2, 3))

class WithMore(Plain):
    def get_extra_state(self):
        return {"version": 1}

    def set_extra_state(self, state):
        pass

def scripted():
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    torch.manual_seed(1)
    torch.nn.init.normal_(net[0].weight)
    torch.nn.init.zeros_(net[0].bias)
    return headstart.Backbone(torch.jit.script(net), image_px=32)

def with_more():
    return headstart.Backbone(WithMore(), image_px=32)
"""

pytestmark = pytest.mark.filterwarnings("ignore::headstart.errors.DataWarning")


@pytest.fixture
def asked(make_photos, tmp_path, monkeypatch):
    """Makes settings for one of the functions; one of the photos is white."""
    photos = make_photos({"cat": 6, "dog": 6})
    picture(0).point(lambda value: 255).save(photos / "dog" / "white.png")
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"{MODULE}.py").write_text(TEXT)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield lambda function, **changes: config(
        photos, **{"backbone": f"{MODULE}:{function}", "weights": None, "image_px": None, **changes}
    )
    sys.modules.pop(MODULE, None)


def cache(function):
    return FeatureCache(FEATURES_FOLDER / f"photos@{MODULE}-{function}.h5")


def test_a_net_that_fails_on_an_image_is_named_and_what_is_finished_is_kept(asked):
    with pytest.raises(BackboneError, match=r":fails failed .*: RuntimeError: a bright picture is too much\.$"):
        updating.bring_up_to_date(asked("fails"))
    assert (cache("fails").status == 1).sum() >= 4


def test_an_image_whose_features_are_not_finite_is_named(asked):
    with pytest.raises(CacheError, match=r"gave NaN or infinity for dog/white\.png\. Check the image"):
        updating.bring_up_to_date(asked("infinite"))


def test_a_cache_goes_on_with_a_net_whose_mean_is_a_list(asked, tmp_path):
    updating.bring_up_to_date(asked("sound"))
    picture(77).save(tmp_path / "photos" / "cat" / "new.png")
    assert updating.bring_up_to_date(asked("sound")).taken_over == 13


def test_a_net_that_does_not_run_in_bf16_stays_in_fp32(asked, monkeypatch, capsys):
    monkeypatch.setitem(precision.SHORT_PASS_SECONDS, "cpu", 0)
    monkeypatch.setattr(precision, "FEWEST_IMAGES", 0)
    monkeypatch.setattr(precision, "_candidate", lambda device: "bf16")
    made = updating.bring_up_to_date(asked("sound", precision="auto")).cache
    assert made.recipe.precision == "fp32"
    assert "precision: fp32, since the backbone does not run in bf16 (" in capsys.readouterr().out


def test_a_precision_in_which_a_net_does_not_run_is_refused_with_the_way_out(asked):
    with pytest.raises(
        BackboneError, match=r"failed on a batch of images: RuntimeError: .* Perhaps it runs with --prec"
    ):
        updating.bring_up_to_date(asked("sound", precision="bf16"))


def test_it_is_said_what_the_features_are(asked, capsys):
    updating.bring_up_to_date(asked("sound"))
    assert f"{MODULE}:sound: 4 features of each image, what it gives, since no linear" in capsys.readouterr().out


def test_weights_that_are_drawn_anew_each_time_are_told_to_be_seeded(asked, tmp_path):
    updating.bring_up_to_date(asked("drawn"))
    picture(77).save(tmp_path / "photos" / "cat" / "new.png")
    with pytest.raises(WeightsError, match=r"not the one that made the features.*seed them with torch\.manual_seed"):
        updating.bring_up_to_date(asked("drawn"))


def test_a_cache_is_described_where_its_net_is_gone(asked, tmp_path):
    made = updating.bring_up_to_date(asked("sound")).cache
    (tmp_path / f"{MODULE}.py").unlink()
    sys.modules.pop(MODULE)
    assert f"was not measured: {MODULE}:sound: the module" in storage_cost(made, InspectConfig(device="cpu"))


def test_what_stops_a_pass_that_ran_out_of_memory_is_left_as_it_is(asked, monkeypatch):
    """A GPU's own message says how much was asked for."""
    import torch

    def full(*_):
        def forward(pixels):
            raise torch.OutOfMemoryError("CUDA out of memory")

        return torch.inference_mode()(forward)

    monkeypatch.setattr(extractor, "fast_form", full)
    with pytest.raises(torch.OutOfMemoryError):
        updating.bring_up_to_date(replace(asked("sound"), precision="fp32"))


def test_a_complete_cache_stays_up_to_date_where_its_module_is_gone(asked, tmp_path):
    """It is told when the net is needed, and not called a change."""
    updating.bring_up_to_date(asked("sound"))
    (tmp_path / f"{MODULE}.py").unlink()
    sys.modules.pop(MODULE)
    assert updating.bring_up_to_date(asked("sound")).pass_ is None
    picture(77).save(tmp_path / "photos" / "cat" / "new.png")
    with pytest.raises(BackboneError, match="the module nets_that_do_as_they_like cannot be imported"):
        updating.bring_up_to_date(asked("sound"))


def test_caches_whose_images_were_listed_in_different_ways_are_named_with_them(asked, tmp_path):
    (tmp_path / "photos" / "cat" / "000.jpg").write_bytes((tmp_path / "photos" / "cat" / "000.png").read_bytes())
    settings = [asked("sound"), asked("drawn", suffixes=("png",))]
    for each in settings:
        updating.bring_up_to_date(each)
    picture(77).save(tmp_path / "photos" / "cat" / "new.png")
    with pytest.raises(DataError, match=r"sound\.h5 by no flag, .*drawn\.h5 by suffixes=.*a command of its own"):
        updating.bring_all_up_to_date([replace(settings[0]), asked("drawn")])


@pytest.mark.parametrize("kind", ["scripted", "with_more"])
def test_a_program_of_torchscript_and_a_net_that_keeps_more_than_tensors_give_features(asked, tmp_path, kind):
    with (tmp_path / f"{MODULE}.py").open("a") as module:
        module.write(MORE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        made = updating.bring_up_to_date(asked(kind)).cache
        assert (made.status == 1).all()
        picture(77).save(tmp_path / "photos" / "cat" / "new.png")
        assert updating.bring_up_to_date(asked(kind)).taken_over == 13
