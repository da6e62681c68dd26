"""A recipe says everything that decides what a feature is, so that no two different ones are ever taken for one."""

import json
import re
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.cache import recipe
from headstart.cache.recipe import Recipe, from_config
from headstart.errors import WeightsError
from headstart.images.geometry import Geometry
from headstart.models.weights import PUBLISHED, describe_weights
from headstart.settings import ExtractConfig

MADE = Recipe(
    weights="IMAGENET1K_V1",
    weights_digest="sha256 0676ba61",
    image_px=224,
    resize="crop",
    shorter_px=256,
    reduced_decode=False,
    precision="bf16",
    compiled=True,
    storage="float16",
)
OTHERS = {
    "backbone": "resnet18",
    "weights": "IMAGENET1K_V2",
    "weights_digest": "sha256 11ad3fa6",
    "image_px": 64,
    "resize": "squash",
    "shorter_px": 73,
    "reduced_decode": True,
    "pixels": "Pillow, bicubic",
    "precision": "fp32",
    "compiled": False,
    "storage": "float32",
    "state_digest": "0" * 32,
    "source_digest": "1" * 32,
    "package": "torchvision 0.26",
    "pool": "avg",
    "features": 512,
    "interpolation": "bicubic",
    "mean": (0.5, 0.5, 0.5),
    "std": (0.2, 0.2, 0.2),
    "scales": (0.5, 3.0),
}
RECIPES = st.builds(
    replace,
    st.just(MADE),
    weights=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    image_px=st.integers(32, 9999),
    precision=st.sampled_from(["auto", "fp32", "bf16", "fp16"]),
    compiled=st.sampled_from([None, True, False]),
)


def in_words(value):
    return {"True": "yes", "False": "no", "None": "auto"}.get(str(value), str(value))


@pytest.mark.parametrize("field", [field.name for field in fields(Recipe)])
def test_each_field_changed_alone_is_noticed_in_words_that_name_both_values(field):
    asked = replace(MADE, **{field: OTHERS[field]})
    (difference,) = asked.differences(MADE)
    before, now = in_words(getattr(MADE, field)), in_words(OTHERS[field])
    assert difference == f"{field}: the cache has {before}, this run asks for {now}"
    assert asked.digest() != MADE.digest()


def test_all_changes_are_told_at_once():
    others = {**OTHERS, "backbone": MADE.backbone}
    assert len(replace(MADE, **others).differences(MADE)) == len(fields(Recipe)) - 1


def test_another_backbone_is_told_alone_since_the_rest_follows_from_it():
    [difference] = replace(MADE, **OTHERS).differences(MADE)
    assert difference == "backbone: the cache has resnet50, this run asks for resnet18"


def test_the_same_recipe_differs_in_nothing():
    assert replace(MADE).differences(MADE) == []


@given(RECIPES)
def test_a_recipe_survives_json(one):
    assert Recipe.from_json(one.to_json()) == one
    assert Recipe.from_json(one.to_json()).digest() == one.digest()


@given(RECIPES, RECIPES)
def test_two_recipes_have_one_digest_only_if_they_are_equal(one, other):
    assert (one.digest() == other.digest()) == (one == other)


def test_the_digest_of_a_recipe_never_changes():
    """Caches and runs on disk carry it."""
    assert MADE.digest() == "fb4973d5733fba4110d966d0ae5aaf68"


@pytest.mark.parametrize("change", [{"new_field": 1}, {"storage": None}])
def test_json_of_another_version_is_not_taken_for_a_recipe(change):
    """Also a field that the file lacks has a say: it must not get a default in silence."""
    content = {**json.loads(MADE.to_json()), **change}
    text = json.dumps({key: value for key, value in content.items() if value is not None})
    with pytest.raises(TypeError):
        Recipe.from_json(text)


def test_auto_adopts_what_the_first_pass_decided_and_nothing_else():
    asked = replace(MADE, precision="auto", compiled=None, image_px=64)
    assert asked.adopting(MADE) == replace(MADE, image_px=64)
    assert asked.differences(MADE) == ["image_px: the cache has 224, this run asks for 64"]


def test_other_published_weights_of_a_net_are_never_taken_for_those_of_the_cache():
    """Of other nets than resnet50 no digest of published weights is known before they are loaded."""
    stored = replace(MADE, backbone="vit_b_16", weights="IMAGENET1K_SWAG_E2E_V1", weights_digest="")
    asked = replace(stored, weights="IMAGENET1K_SWAG_LINEAR_V1")
    assert [difference.split(":")[0] for difference in asked.differences(stored)] == ["weights"]


def test_what_is_asked_for_explicitly_is_not_adopted_away():
    asked = replace(MADE, precision="fp32", compiled=False)
    assert asked.adopting(MADE) == asked
    assert [difference.split(":")[0] for difference in asked.differences(MADE)] == ["precision", "compiled"]


# From the settings


@pytest.mark.parametrize(
    ("setting", "field"),
    [
        ({"weights": "IMAGENET1K_V2"}, "weights"),
        ({"image_px": 64}, "image_px"),
        ({"resize": "squash"}, "resize"),
        ({"reduced_decode": True}, "reduced_decode"),
        ({"precision": "fp32"}, "precision"),
        ({"compile": "on"}, "compiled"),
        ({"compile": "off"}, "compiled"),
        ({"storage": "float32"}, "storage"),
        ({"weights": "random", "seed": 1}, "weights_digest"),
    ],
)
def test_every_setting_that_changes_features_changes_the_recipe(setting, field):
    one, other = from_config(ExtractConfig()), from_config(ExtractConfig(**setting))
    assert getattr(one, field) != getattr(other, field)
    assert one.digest() != other.digest()


@pytest.mark.parametrize(
    "setting",
    [{"batch_size": 7}, {"workers": 3}, {"device": "cpu"}, {"seed": 5}, {"overwrite": True}, {"data": "elsewhere"}],
)
def test_settings_that_change_no_feature_do_not_make_a_cache_stale(setting):
    assert from_config(ExtractConfig(**setting)) == from_config(ExtractConfig())


def test_random_weights_are_told_apart_by_their_seed():
    made, asked = (from_config(ExtractConfig(weights="random", seed=seed)) for seed in (0, 1))
    assert asked.differences(made) == ["weights_digest: the cache has seed 0, this run asks for seed 1"]


def test_a_weights_file_is_known_by_its_content_not_by_its_place(tmp_path):
    paths = [tmp_path / folder / "net.pth" for folder in ("a", "b", "c")]
    for path, content in zip(paths, (b"weights", b"weights", b"weightz"), strict=True):
        path.parent.mkdir()
        path.write_bytes(content)
    one, moved, other = (from_config(ExtractConfig(weights=str(path))) for path in paths)
    assert one == moved
    assert one.weights == "net.pth"
    assert [difference.split(":")[0] for difference in other.differences(one)] == ["weights_digest"]


@pytest.mark.parametrize("weights", ["IMAGENET1K_V3", "nowhere/net.pth", "."])
def test_unknown_weights_are_refused_with_the_known_ones(weights):
    with pytest.raises(WeightsError, match="is neither a file nor one of IMAGENET1K_V1, IMAGENET1K_V2, random"):
        from_config(ExtractConfig(weights=weights))


def test_a_file_called_like_a_preset_is_not_taken_for_it(tmp_path):
    path = tmp_path / "random"
    path.write_bytes(b"weights")
    asked = from_config(ExtractConfig(weights=str(path), seed=0))
    assert asked.weights_digest.startswith("blake2b")


@pytest.mark.parametrize("name", PUBLISHED)
def test_names_hashes_and_sizes_are_torchvisions_own(name):
    from torchvision.models import ResNet50_Weights

    weights = ResNet50_Weights[name]
    (published,) = re.findall(r"resnet50-([0-9a-f]{8})\.pth$", weights.url)
    asked = from_config(ExtractConfig(weights=name))
    preset = weights.transforms()
    assert asked.weights_digest == f"sha256 {published}"
    assert [asked.shorter_px] == preset.resize_size
    assert [asked.image_px] == preset.crop_size
    assert set(PUBLISHED) == {known.name for known in ResNet50_Weights}


def test_the_geometry_is_that_of_the_recipe():
    asked = from_config(ExtractConfig(image_px=64, resize="squash", reduced_decode=True))
    assert asked.geometry == Geometry(64, "squash", 73, reduced_decode=True)


def test_random_weights_are_called_untrained_aloud():
    assert "untrained" in describe_weights("random")
    assert describe_weights("IMAGENET1K_V1") == "weights: IMAGENET1K_V1"


def test_a_cache_of_a_weights_file_asks_for_that_very_file(tmp_path):
    right, wrong = tmp_path / "right.pth", tmp_path / "wrong.pth"
    right.write_bytes(b"right")
    wrong.write_bytes(b"wrong")
    made = from_config(ExtractConfig(weights=str(right)))
    assert recipe.weights_of(made, str(right)) == (str(right), 0)
    with pytest.raises(WeightsError, match=r"right\.pth: say where it lies with --weights"):
        recipe.weights_of(made, None)
    with pytest.raises(
        WeightsError, match=r"wrong\.pth is not right\.pth, .* \(blake2b .*, not blake2b .*give that file"
    ):
        recipe.weights_of(made, str(wrong))
    with pytest.raises(
        WeightsError, match=r"nowhere\.pth is no file, and not right\.pth, .* were made: give that file"
    ):
        recipe.weights_of(made, "nowhere.pth")
    assert recipe.weights_of(made, None, str(right)) == (str(right), 0)
    with pytest.raises(WeightsError, match=r"right\.pth, but .*wrong\.pth has other bytes now: say where it lies"):
        recipe.weights_of(made, None, str(wrong))
    assert recipe.weights_of(from_config(ExtractConfig(weights="random", seed=7)), None) == ("random", 7)
    assert recipe.weights_of(MADE, None) == ("IMAGENET1K_V1", 0)


@pytest.mark.parametrize(
    ("backbone", "weights", "digest", "given"),
    [
        ("resnet50", "IMAGENET1K_V1", "sha256 0676ba61", "IMAGENET1K_V2"),
        ("resnet50", "random", "seed 3", "IMAGENET1K_V1"),
        ("vit_b_16", "IMAGENET1K_V1", "", "IMAGENET1K_SWAG_E2E_V1"),
        ("vit_b_16", "IMAGENET1K_V1", "", "random"),
        ("timm:resnet18", "a1_in1k", "", "random"),
        ("timm:resnet18", "random", "seed 3", "a1_in1k"),
    ],
)
def test_weights_of_another_name_are_refused_by_both_names(backbone, weights, digest, given):
    made = replace(MADE, backbone=backbone, weights=weights, weights_digest=digest)
    with pytest.raises(WeightsError) as error:
        recipe.weights_of(made, given)
    assert str(error.value) == (
        f"--weights {given} is not {weights}, with which the features of {backbone} were made: leave it out."
    )


def test_weights_are_named_as_the_recipe_names_them_or_by_a_file_that_may_hold_them(tmp_path):
    """Of published weights no digest of a file is known: the tensors decide, once they are loaded."""
    published = replace(MADE, backbone="vit_b_16", weights="IMAGENET1K_V1", weights_digest="")
    file = tmp_path / "vit_b_16-c867db91.pth"
    file.write_bytes(b"weights")
    for name in (None, "IMAGENET1K_V1"):
        assert recipe.weights_of(published, name) == ("IMAGENET1K_V1", 0)
    assert recipe.weights_of(published, str(file)) == (str(file), 0)
    named = replace(published, backbone="timm:resnet18", weights="a1_in1k")
    assert recipe.weights_of(named, None) == (None, 0)
    assert recipe.weights_of(replace(MADE, weights="random", weights_digest="seed 3"), "random") == ("random", 3)
