"""Settings that say how a data set is read are refused where they say nothing of it, and never ignored."""

import pytest

from headstart.datasets.labelled import load
from headstart.errors import SettingsError
from headstart.settings import ExtractConfig, Listing

SETTINGS = {"columns": "path=1,label=2", "root": ".", "max_missing": 0.5, "layout": "classes", "suffixes": ("jpg",)}


@pytest.mark.parametrize(
    ("data", "kind", "unused"),
    [
        ("photos", "a folder", ["columns", "root", "max_missing"]),
        ("list.csv", "a list", ["layout"]),
        ("{train,test}.txt", "a list", ["layout"]),
        ("x.tar", "an archive", [*SETTINGS]),
        ("*.tar", "an archive", [*SETTINGS]),
    ],
)
def test_a_setting_for_another_kind_of_data_is_refused(files, monkeypatch, data, kind, unused):
    names = ("photos/cat/1.jpg", "photos/dog/2.jpg", "list.csv", "train.txt", "test.txt", "x.tar")
    monkeypatch.chdir(files(*names))
    for name in unused:
        flag = f"--{name.replace('_', '-')}"
        with pytest.raises(SettingsError, match=rf"^{flag} is for .*, but .* is {kind}\. Leave it out") as refused:
            load(data, how=Listing(**{name: SETTINGS[name]}))
        assert refused.value.in_python.startswith(f"{name}= is for ")
    Listing(**{name: value for name, value in SETTINGS.items() if name not in unused}).refuse_unused(data)


def test_what_a_cache_keeps_of_a_list_is_left_out_where_the_data_are_a_folder_now(files):
    kept = {"columns": "label=emotion", "root": "images", "suffixes": ["jpg"], "ignore_case": True}
    root = files("cat/1.jpg")
    assert ExtractConfig(data=str(root)).with_listing(kept).listing() == {"suffixes": ["jpg"], "ignore_case": True}
    assert set(ExtractConfig(data="list.csv").with_listing(kept).listing()) == kept.keys()
