"""What is compared, or chosen as the best, are runs of one data set."""

import json
import os
from pathlib import Path

import pytest

from headstart.runs.one_data_set import of_one_data_set
from headstart.runs.run import list_runs


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


def kept(data: str | None = None) -> tuple[list[str], str]:
    runs, left_out = of_one_data_set(list_runs(Path("runs")), data)
    return [run.name for run in runs], "\n".join(left_out)


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
    assert said == "head-1 is left out: it knows the classes cat, cow, dog, not cat, dog as head-2."


def test_a_run_of_another_folder_is_left_out():
    trained("head-1", 1, data_root=root("a"))
    trained("head-2", 2, data_root=root("b"))
    names, said = kept()
    assert names == ["head-2"]
    assert said == f"head-1 is left out: it learned from {root('a')}, head-2 from {root('b')}."


def test_the_data_set_that_is_named_decides():
    trained("head-1", 1, data_root=root("a"))
    trained("head-2", 2, data_root=root("b"), data_source=root("b"))
    names, said = kept("a/photos")
    assert names == ["head-1"]
    assert said == f"head-2 is left out: it learned from {root('b')}."


def test_runs_stay_comparable_after_the_data_has_moved():
    trained("head-1", 1, data_root="/gone/photos", tested="cat/1.png cat/2.png")
    trained("head-2", 2, data_root=root("b"), tested="cat/2.png cat/3.png")
    trained("head-3", 1, data_root="/gone/others", tested="other/2.png")
    names, said = kept("b/photos")
    assert names == ["head-1", "head-2"]
    assert said == "head-3 is left out: it was tested on none of the images of head-2."


def test_no_runs_are_no_runs():
    assert kept() == kept("a/photos") == ([], "")
