"""Several seeds: a run for each, found again as if its seed had been given alone, all with the same test images."""

from pathlib import Path

import pytest
from helpers.caches import make_cache
from helpers.features import TEST, TRAIN, VAL

from headstart import settings, train_head
from headstart.cache.feature_cache import FeatureCache
from headstart.datasets import naming
from headstart.errors import SettingsError
from headstart.finetuning import data
from headstart.finetuning import run as finetuning
from headstart.runs.folder import identity
from headstart.runs.run import load_run
from headstart.settings import (
    DataCheckConfig,
    ExtractConfig,
    FinetuneConfig,
    HeadConfig,
    LearningCurveConfig,
    SweepConfig,
    each_run,
    each_seed,
)
from headstart.settings.listing import ImagesConfig
from headstart.support.files import write_json
from headstart.support.team import Team


@pytest.mark.parametrize("config_type", [HeadConfig, FinetuneConfig])
def test_each_run_is_the_one_of_its_seed_alone(config_type):
    runs = each_seed(config_type(seeds=3, seed=4))
    assert [identity(run) for run in runs] == [identity(config_type(seed=seed)) for seed in (4, 5, 6)]
    assert "seeds" not in identity(runs[0])


def test_sweeps_of_several_seeds_have_no_head_in_common():
    assert [run.seed for run in each_seed(SweepConfig(seeds=3))] == [(0, 1, 2), (3, 4, 5), (6, 7, 8)]
    assert [run.seed for run in each_seed(SweepConfig(seeds=2, seed=(5, 0)))] == [(5, 0), (11, 6)]


def test_each_backbone_is_trained_with_each_seed():
    runs = each_run(HeadConfig(backbone="resnet50 resnet18", seeds=2))
    assert [(run.backbone, run.seed) for run in runs] == [
        (name, seed) for name in ("resnet50", "resnet18") for seed in (0, 1)
    ]


@pytest.mark.parametrize("config_type", [HeadConfig, SweepConfig, FinetuneConfig])
def test_one_folder_for_several_runs_is_refused_in_words(config_type):
    with pytest.raises(SettingsError, match=r"^--run is one folder, but --seeds 3 makes 3 runs: leave it out\.$"):
        each_seed(config_type(seeds=3, run=Path("here")))
    assert each_seed(config_type(run=Path("here"))) == [config_type(run=Path("here"))]


def test_the_seeds_of_a_learning_curve_are_in_one_curve():
    assert identity(LearningCurveConfig(seeds=5))["seeds"] == 5


def test_several_seeds_are_several_runs_of_which_python_gets_the_best(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_cache(tmp_path / "f.h5", [0, 1] * 8, [TRAIN] * 8 + [VAL] * 4 + [TEST] * 4)
    best = train_head(cache="f.h5", epochs=1, seeds=3)
    runs = [load_run(folder) for folder in (tmp_path / "data/runs/made up").iterdir()]
    assert sorted(run.metrics["seed"] for run in runs) == [0, 1, 2]
    assert load_run(best).val_accuracy == max(run.val_accuracy for run in runs)
    assert train_head(cache="f.h5", epochs=1, seed=1).name in {run.folder.name for run in runs}


# --- the splits ---


@pytest.fixture
def photos(make_photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_photos({"cat": 30, "dog": 30})
    return "photos"


def extracted(photos, **settings_) -> FeatureCache:
    from headstart import extract

    return extract(photos, weights="random", image_px=32, precision="fp32", compile="off", **settings_)


def digest(seed: int) -> str:
    """Of the data set with the splits that the seed draws."""
    return data.load(FinetuneConfig(data="photos", split_seed=seed), Team()).manifest.digest()


def trained(photos, monkeypatch, **changes) -> list[str]:
    """Digests of the data sets that a fine-tuning would learn from, one for each run."""
    manifests = []
    monkeypatch.setattr(finetuning, "train", lambda start, images, team: manifests.append(images.manifest))
    finetuning.train_each(FinetuneConfig(data=photos, **changes))
    return [manifest.digest() for manifest in manifests]


def test_nets_of_several_seeds_are_tested_on_the_same_images(photos, monkeypatch):
    assert trained(photos, monkeypatch, seed=4, seeds=3) == [digest(4)] * 3


def test_without_features_a_net_is_tested_on_the_images_of_the_nets_before_it(photos, monkeypatch):
    metrics = Path("data/runs/photos/finetune-00000000/metrics.json")
    metrics.parent.mkdir(parents=True)
    write_json(metrics, {"data_root": photos, "split_seed": 4})
    assert trained(photos, monkeypatch, seed=1) == [digest(4)]
    write_json(metrics, {"data_root": "/", "split_seed": 4})  # of another data set
    assert trained(photos, monkeypatch, seed=1) == [digest(1)]


@pytest.mark.filterwarnings("ignore:The features of photos have splits:headstart.errors.DataWarning")
def test_a_net_is_tested_on_the_images_of_the_features_whatever_its_seed(photos, monkeypatch):
    """Heads on these features and fine-tuned nets are compared image by image."""
    cache = extracted(photos, split_seed=7)
    assert cache.manifest.digest() == digest(7) != digest(0)
    assert trained(photos, monkeypatch, seed=4) == [digest(7)]
    assert trained(photos, monkeypatch, seed=4, split_seed=5, seeds=2) == [digest(5)] * 2


def test_splits_have_a_seed_of_their_own_that_the_cache_keeps(photos):
    first = extracted(photos, seed=3, split_seed=7)
    assert first.recipe.weights_digest == "seed 3"
    assert first.manifest.digest() == digest(7)
    assert extracted(photos).manifest.digest() == digest(7)
    assert extracted(photos, backbone="resnet18").manifest.digest() == digest(7)


@pytest.mark.parametrize("given", [{"seed": 7}, {"split_seed": 7}, {"seed": 7, "split_seed": 7}], ids=str)
def test_the_seed_of_a_check_is_that_of_the_splits(photos, given):
    assert naming.load_as_before(DataCheckConfig(data=photos, **given)).seed == 7
    assert naming.load_as_before(DataCheckConfig(data=photos)).seed == 0


def test_two_seeds_for_one_thing_are_refused():
    with pytest.raises(SettingsError, match="--seed is 1, but must be left out: --split-seed says the same"):
        DataCheckConfig(seed=1, split_seed=2)


def test_every_program_that_draws_splits_has_their_seed():
    configs = [config for name, config in vars(settings).items() if name.endswith("Config")]
    lists = {each for each in configs if issubclass(each, ImagesConfig | DataCheckConfig)}
    assert {each for each in configs if "split_seed" in each.__dataclass_fields__} == lists >= {ExtractConfig}
