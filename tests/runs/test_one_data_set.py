"""What is compared, or chosen as the best, are runs of one data set."""

import json
import os
from pathlib import Path

import pytest
from helpers.caches import manifest

from headstart.datasets.manifest import Manifest
from headstart.runs.listing import list_runs
from headstart.runs.one_data_set import of_one_data_set


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("a/photos", "b/photos", "runs"):
        Path(folder).mkdir(parents=True)


def trained(name: str, when: int, classes: str = "cat dog", tested: str = "cat/1.png", **metrics) -> None:
    """A run that was finished at some time; `tested` are its test images."""
    folder = Path("runs", name)
    folder.mkdir()
    test = {"images": len(tested.split()), "accuracy": 0.9}
    content = {"kind": "head", "dataset": "photos", "test": test, "val": {}, "classes": classes.split(), **metrics}
    (folder / "metrics.json").write_text(json.dumps(content | {"test_digest": tested}))
    lines = ["path,label,predicted,p_cat,p_dog", *(f"{path},cat,cat,1,0" for path in tested.split())]
    (folder / "predictions.csv").write_text("\n".join(lines) + "\n")
    os.utime(folder / "metrics.json", (when, when))


def root(parent: str) -> str:
    return str(Path(parent, "photos").absolute())


def kept(data: str | None = None, present: Manifest | None = None) -> tuple[list[str], str]:
    runs, left_out = of_one_data_set(list_runs(Path("runs")), data, present)
    return [run.name for run in runs], left_out


def test_runs_of_one_data_set_are_all_kept():
    trained("head-1", 1, data_root=root("a"))
    trained("head-2", 2, data_root=root("a"), tested="cat/2.png")
    trained("head-3", 3)
    assert kept() == (["head-1", "head-2", "head-3"], "")


def test_a_run_of_other_classes_than_the_last_one_is_left_out():
    trained("head-1", 1, classes="cat cow dog")
    trained("head-2", 2)
    names, said = kept()
    assert names == ["head-2"]
    assert said == "1 of 2 runs is left out: 1 with other classes than head-2 (cat, dog) (head-1)."


def test_a_run_of_another_folder_is_left_out():
    trained("head-1", 1, data_root=root("a"))
    trained("head-2", 2, data_root=root("b"))
    names, said = kept()
    assert names == ["head-2"]
    assert said == f"1 of 2 runs is left out: 1 from {root('a')} (head-1)."


def test_the_data_set_that_is_named_decides():
    trained("head-1", 1, data_root=root("a"))
    trained("head-2", 2, data_root=root("b"), data_source=root("b"))
    names, said = kept("a/photos")
    assert names == ["head-1"]
    assert said == f"1 of 2 runs is left out: 1 from {root('b')} (head-2)."


def test_runs_stay_comparable_after_the_data_has_moved():
    trained("head-1", 1, data_root="/gone/photos", tested="cat/1.png cat/2.png")
    trained("head-2", 2, data_root=root("b"), tested="cat/2.png cat/3.png")
    trained("head-3", 1, data_root="/gone/others", tested="other/2.png")
    names, said = kept("b/photos")
    assert names == ["head-1", "head-2"]
    assert said == "1 of 3 runs is left out: 1 tested on none of the images of head-2 (head-3)."


def test_no_runs_are_no_runs():
    assert kept() == kept("a/photos") == ([], "")


def test_a_class_that_was_renamed_and_renamed_back_leaves_the_older_runs_where_they_were():
    """What the cache holds now decides, not the last run."""
    for number in range(7):
        trained(f"head-{number}", number, data_root=root("a"))
    trained("head-renamed", 9, classes="cat wolf", data_root=root("a"))
    names, said = kept("a/photos", manifest(root=Path(root("a"))))
    assert names == [f"head-{number}" for number in range(7)]
    assert said == "1 of 8 runs is left out: 1 with other classes than the features now (cat, dog) (head-renamed)."
    names, said = kept("a/photos", manifest(root=Path(root("a")), classes=("cat", "wolf")))
    assert names == ["head-renamed"]
    assert said.startswith("7 of 8 runs are left out: 7 with ")
    assert said.endswith("(head-0, head-1, head-2, head-3, head-4 and 2 more).")


def test_the_images_in_the_cache_decide_where_the_data_has_moved():
    trained("head-1", 1, data_root="/gone/photos", tested="00001.jpg")
    trained("head-2", 2, data_root="/gone/others", tested="other.jpg")
    names, said = kept(present=manifest(root=Path(root("b"))))
    assert names == ["head-1"]
    assert "1 tested on none of the images of the features now (head-2)" in said


def test_where_no_run_knows_the_present_classes_the_last_one_decides():
    trained("head-1", 1, classes="cat cow")
    trained("head-2", 2)
    assert kept(present=manifest(classes=("cat", "dog", "fox")))[0] == ["head-2"]
