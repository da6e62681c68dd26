"""Settings that were left out are those of the cache; those that were given, by a flag or a file, must be its own."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.extraction import shared_net
from helpers.pictures import picture

from headstart import api, cli
from headstart.cache.feature_cache import FeatureCache
from headstart.datasets.naming import name_of
from headstart.errors import CacheError, RecipeMismatch, WeightsError
from headstart.extraction import updating
from headstart.extraction.asked import Asked
from headstart.settings import ExtractConfig

pytestmark = [pytest.mark.usefixtures("one_net"), pytest.mark.filterwarnings("ignore::headstart.errors.DataWarning")]

GIVEN = {
    "weights": "random",
    "image_px": 32,
    "resize": "squash",
    "storage": "float32",
    "reduced_decode": True,
    "seed": 3,
}
CACHE = Path("data/features/photos.h5")


@pytest.fixture(autouse=True)
def extracted(make_photos, tmp_path, monkeypatch) -> FeatureCache:
    """The cache of photos/, made with settings that are not the defaults, for images whose splits were drawn."""
    monkeypatch.chdir(tmp_path)
    make_photos({"cat": 12, "dog": 12})
    updating.bring_up_to_date(asking(**GIVEN, views=1, view_kind="crop"))
    return FeatureCache(CACHE)


def asking(**settings) -> ExtractConfig:
    return ExtractConfig(**{"data": "photos", "precision": "fp32", "compile": "off", "device": "cpu", **settings})


def test_without_settings_a_pass_goes_on_with_those_of_the_cache(extracted, capsys):
    capsys.readouterr()
    assert updating.bring_up_to_date(asking()).pass_ is None
    said = capsys.readouterr().out.strip()
    assert said.startswith(f"{CACHE} goes on with the settings that it was made with: --weights random --image-px 32")
    assert said.endswith("--resize squash --reduced-decode --storage float32 --view-kind crop --seed 3")
    assert np.array_equal(FeatureCache(CACHE).manifest.splits, extracted.manifest.splits)


def test_new_images_and_views_are_made_like_the_others(extracted):
    picture(77).save("photos/cat/new.png")
    updating.bring_up_to_date(asking(views=2))
    grown = FeatureCache(CACHE)
    assert (grown.recipe, grown.augmentation, grown.manifest.seed) == (extracted.recipe, extracted.augmentation, 3)
    assert (len(grown), len(grown.augmented)) == (25, 2)


@pytest.mark.parametrize("name", ["image_px", "resize", "storage", "reduced_decode", "weights", "seed"])
def test_a_setting_that_was_given_is_never_overruled_even_if_it_is_the_default(name):
    default = ExtractConfig().completed()
    with pytest.raises(RecipeMismatch, match="was made by another recipe"):
        Asked(asking(**{name: getattr(default, name)}), FeatureCache(CACHE)).refuse_differences(FeatureCache(CACHE))


def test_flags_and_files_count_as_given(tmp_path):
    Path("px.toml").write_text("image_px = 224\nreduced_decode = false\n")
    parsed = cli.parse(ExtractConfig, ["--config", "px.toml", "--resize", "crop"])
    assert (parsed.image_px, parsed.reduced_decode, parsed.resize) == (224, False, "crop")
    assert (parsed.weights, parsed.storage) == (None, None)
    assert cli.parse(ExtractConfig, ["--config", "px.toml", "--reduced-decode"]).reduced_decode is True
    assert cli.parse(ExtractConfig, ["--no-reduced-decode"]).reduced_decode is False
    assert cli.parse(ExtractConfig, []).reduced_decode is None


def test_python_code_leaves_settings_out_in_the_same_way():
    assert api.extract("photos", device="cpu").recipe.image_px == 32
    with pytest.raises(RecipeMismatch, match="image_px: the cache has 32, this run asks for 224"):
        api.extract("photos", image_px=224)


def test_overwrite_starts_with_the_defaults():
    assert Asked(asking(overwrite=True, weights="random"), None).recipe.image_px == 224


@pytest.mark.slow
def test_a_file_of_weights_is_found_again_where_it_was_and_needed_only_for_new_images(tmp_path, extracted, capsys):
    """The cache knows where it lay and its digest."""
    loaded, _ = shared_net("resnet50", "random", 5)
    torch.save(loaded.net.state_dict(), tmp_path / "mine.pth")
    file = asking(data="photos", cache=Path("mine.h5"), image_px=32)
    updating.bring_up_to_date(replace(file, weights=str(tmp_path / "mine.pth")))
    picture(78).save("photos/cat/new.png")
    assert updating.bring_up_to_date(file).pass_.forwarded == 1
    assert f"--weights {tmp_path / 'mine.pth'}" in capsys.readouterr().out
    (tmp_path / "mine.pth").rename(tmp_path / "moved.pth")
    assert updating.bring_up_to_date(file).pass_ is None
    picture(79).save("photos/cat/newer.png")
    with pytest.raises(
        WeightsError, match=r"made with mine\.pth, but .*mine\.pth is no longer there: say where it lies"
    ):
        updating.bring_up_to_date(file)
    (tmp_path / "mine.pth").write_bytes(b"other weights")
    with pytest.raises(WeightsError, match=r"mine\.pth has other bytes now: say where it lies with --weights"):
        updating.bring_up_to_date(file)
    assert updating.bring_up_to_date(replace(file, weights=str(tmp_path / "moved.pth"))).pass_.forwarded == 1
    assert FeatureCache("mine.h5").weights_file == str(tmp_path / "moved.pth")


def test_images_that_have_views_keep_them_whatever_split_they_are_in(extracted):
    """--view-splits all is the cache's, too: a later command without it gives new images their views."""
    updating.bring_up_to_date(asking(view_splits="all"))
    for number in range(20):
        picture(100 + number).save(f"photos/cat/new{number}.png")
    assert Asked(asking(), FeatureCache(CACHE)).config.view_splits == "all"
    updating.bring_up_to_date(asking())
    grown = FeatureCache(CACHE)
    assert not grown.pending("all").any()
    assert updating.bring_up_to_date(asking(view_splits="train")).pass_ is None


def test_a_cache_of_images_that_were_moved_and_renamed_is_offered_with_a_command_that_goes_on_with_it(capsys):
    Path("photos").rename("pets")
    capsys.readouterr()
    updating.bring_up_to_date(asking(data="pets", weights="random", image_px=32))
    said = capsys.readouterr().out
    assert f"{CACHE} holds features of these images, from another place. To go on with it instead: " in said
    assert f"--data=pets --cache={CACHE}" in said
    assert updating.bring_up_to_date(asking(data="pets", cache=CACHE)).pass_ is None
    assert FeatureCache(CACHE).manifest.name == "photos"
    Path("data/features/pets.h5").unlink()
    assert name_of("pets") == "photos", "runs of a data set that has moved are found under the name of its features"
    Path("other").mkdir()
    for name in ("cat", "dog"):
        Path("other", name).mkdir()
        for number in range(4):
            picture(200 + number).save(f"other/{name}/{number:03}.png")
    Path("pets").rename("elsewhere")
    capsys.readouterr()
    updating.bring_up_to_date(asking(data="other", weights="random", image_px=32))
    assert "from another place" not in capsys.readouterr().out


def test_of_several_caches_of_moved_images_the_one_that_fits_best_is_offered_even_if_a_few_images_are_gone(capsys):
    updating.bring_up_to_date(asking(weights="random", image_px=64, cache=Path("data/features/a.h5")))
    Path("photos").rename("pets")
    next(Path("pets/cat").iterdir()).unlink()
    capsys.readouterr()
    updating.bring_up_to_date(replace(asking(), **{**GIVEN, "data": "pets", "config": None}))
    said = capsys.readouterr().out
    assert f"--data=pets --cache={CACHE}" in said
    assert "a.h5" not in said


def test_a_cache_that_another_process_makes_meanwhile_is_a_sentence(extracted):
    """Between the look for it and the lock, where the backbone had to be loaded to know its recipe."""
    asked = Asked(asking(cache=Path("other.h5"), backbone="resnet18"), None)
    with pytest.raises(CacheError, match="made by another process meanwhile"):
        asked.refuse_differences(extracted)
