"""Several backbones in one pass: an image is read and decoded once, and each cache keeps every promise of its own."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from helpers.extraction import config
from helpers.pictures import picture

from headstart.cache.feature_cache import FeatureCache
from headstart.cache.layout import DONE, PENDING
from headstart.errors import BackboneError, SettingsError
from headstart.extraction import one_pass, updating
from headstart.images import loading
from headstart.settings import each_backbone

NAMES = ("resnet50", "mobilenet_v3_small", "timm:mobilenetv4_conv_small")
OWN_PIXELS = {"weights": None, "image_px": None}
FILES = ("photos.h5", "photos@mobilenet_v3_small.h5", "photos@timm-mobilenetv4_conv_small.h5")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("one_net"),
    pytest.mark.filterwarnings("ignore::headstart.errors.DataWarning"),
]


@pytest.fixture
def asked(make_photos, tmp_path, monkeypatch):
    """The settings for three backbones, two of them with sizes of their own, in a folder of their own."""
    photos = make_photos({"cat": 8, "dog": 7})
    picture(0).save(photos / "dog" / "the first cat again.png")
    (photos / "dog" / "broken.png").write_bytes(b"no picture")
    monkeypatch.chdir(tmp_path)
    settings = config(photos, backbone=" ".join(NAMES), views=1, storage="float32")
    return [replace(each, image_px=px) for each, px in zip(each_backbone(settings), (32, 64, 32), strict=True)]


def rows_of(path):
    """Features and state of all views."""
    cache = FeatureCache(path)
    return [(view.read(verify=False)[view.status == 1], view.status, view.digests) for view in cache.views]


def same(one, other):
    return all(np.array_equal(*pair) for views in zip(one, other, strict=True) for pair in zip(*views, strict=True))


def paths():
    from headstart.settings import FEATURES_FOLDER

    return [FEATURES_FOLDER / name for name in FILES]


def test_one_pass_gives_every_cache_the_bits_of_a_pass_of_its_own(asked, monkeypatch):
    read, load = [], loading.read
    monkeypatch.setattr(loading, "read", lambda place: read.append(place) or load(place))
    reports = updating.bring_all_up_to_date(asked)
    assert [report.cache.path for report in reports] == paths()
    assert len(read) == len(set(read)) == 17
    together = [rows_of(path) for path in paths()]
    for settings, rows, path in zip(asked, together, paths(), strict=True):
        path.unlink()
        alone = updating.bring_up_to_date(settings)
        assert same(rows_of(path), rows)
        report = next(report for report in reports if report.cache.path == path)
        for name in ("decoded", "forwarded", "copied", "unreadable"):
            assert getattr(report.pass_, name) == getattr(alone.pass_, name), name


def test_a_complete_cache_is_not_touched_and_the_others_go_on_from_where_each_was(asked, monkeypatch):
    updating.bring_up_to_date(asked[0])
    written = paths()[0].stat()
    fill, batches = one_pass.Filling.write, []

    def stop(filling, *rest):
        batches.append(filling)
        if len(batches) == 4:
            raise KeyboardInterrupt
        fill(filling, *rest)

    with monkeypatch.context() as stopped:
        stopped.setattr(one_pass.Filling, "write", stop)
        with pytest.raises(KeyboardInterrupt):
            updating.bring_all_up_to_date(asked)
    done = [int((FeatureCache(path).status == 1).sum()) for path in paths()]
    assert done[0] == 16
    assert 0 < done[1] + done[2] < 32
    reports = updating.bring_all_up_to_date(asked)
    assert reports[0].pass_ is None
    assert [report.taken_over for report in reports] == done
    assert (paths()[0].stat().st_ino, paths()[0].stat().st_mtime_ns) == (written.st_ino, written.st_mtime_ns)
    for settings, path in zip(asked, paths(), strict=True):
        rows = rows_of(path)
        path.unlink()
        updating.bring_up_to_date(settings)
        assert same(rows_of(path), rows)


def test_all_grow_together(asked):
    updating.bring_all_up_to_date(asked)
    before = [rows_of(path) for path in paths()]
    picture(99).save(f"{asked[0].data}/cat/new.png")
    reports = updating.bring_all_up_to_date(asked)
    assert [report.taken_over for report in reports] == [16, 16, 16]
    assert all(report.pass_.decoded == 1 for report in reports)
    assert not any(same(rows_of(path), rows) for path, rows in zip(paths(), before, strict=True))
    assert not list(paths()[0].parent.glob("*.growing"))


def test_a_mistake_in_one_name_begins_no_pass(asked, capsys):
    asked[2] = replace(asked[2], backbone="resnet51")
    with pytest.raises(BackboneError, match="no backbone resnet51"):
        updating.bring_all_up_to_date(asked)
    assert not any(path.exists() for path in paths())
    assert "New cache" not in capsys.readouterr().out


LATE = """
import torch
import headstart

class Late(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.calls, self.seen = torch.nn.Buffer(torch.zeros(())), 0

    def forward(self, pixels):
        self.seen += 1
        if self.seen > 8:
            self.calls += 1
        return pixels.mean(dim=(2, 3))

def late():
    return headstart.Backbone(Late(), image_px=32)
"""


def test_a_net_that_changes_late_in_a_pass_loses_its_rows_and_the_others_none(asked, tmp_path, monkeypatch):
    """Or the next command would take its cache for complete."""
    (tmp_path / "late_net_for_a_test.py").write_text(LATE)
    monkeypatch.setattr(sys, "path", list(sys.path))
    both = [asked[1], replace(asked[0], backbone="late_net_for_a_test:late", weights=None)]
    for _ in range(2):
        with pytest.raises(BackboneError, match="late_net_for_a_test:late changes its own buffers"):
            updating.bring_all_up_to_date(both)
    late = FeatureCache(paths()[0].with_name("photos@late_net_for_a_test-late.h5"))
    assert all((view.status == PENDING).all() for view in late.views)
    assert (FeatureCache(paths()[1]).status == DONE).sum() == 16


def test_large_photos_are_decoded_at_the_size_that_each_net_needs(make_photos, tmp_path, monkeypatch):
    """With reduced decoding the pixels depend on the size: those of a net alone, whatever the others need."""
    photos = make_photos({"cat": 2, "dog": 2})
    for path in photos.glob("*/*.png"):
        picture(7).resize((900, 700)).save(path.with_suffix(".jpg"), quality=95)
        path.unlink()
    monkeypatch.chdir(tmp_path)
    settings = config(photos, backbone="resnet50 mobilenet_v3_small", reduced_decode=True)
    asked = [replace(each, image_px=px) for each, px in zip(each_backbone(settings), (32, 160), strict=True)]
    for names in (asked, asked[::-1]):
        updating.bring_all_up_to_date(names)
        together = [rows_of(path) for path in paths()[:2]]
        for path in paths()[:2]:
            path.unlink()
        for each in asked:
            updating.bring_up_to_date(each)
        for path, rows in zip(paths()[:2], together, strict=True):
            assert same(rows_of(path), rows)
            path.unlink()


def test_several_backbones_are_never_put_into_one_cache():
    with pytest.raises(SettingsError, match="--cache is one file or folder, but 2 backbones are named"):
        each_backbone(config("photos", backbone="resnet50 resnet18", cache="mine.h5"))


def test_backbones_side_by_side_are_extracted_each_into_its_own_cache():
    """A plus joins features that are read together: their caches are the same as without it."""
    settings = config("photos", backbone="resnet50 resnet18 resnet50+timm:b resnet18+resnet50")
    assert [each.backbone for each in each_backbone(settings, apart=True)] == ["resnet50", "resnet18", "timm:b"]
    names = ["resnet50", "resnet18", "resnet50+timm:b", "resnet18+resnet50"]
    assert [each.backbone for each in each_backbone(settings)] == names
    assert each_backbone(config("photos", backbone=None), apart=True) == [config("photos", backbone=None)]
