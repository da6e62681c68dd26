"""Data sets from libraries are written once, whole or not at all, and then used like anybody's own folder."""

import sys
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from urllib.error import URLError

import numpy as np
import pytest
from helpers.pictures import picture
from PIL import Image

from headstart.datasets import examples, labelled
from headstart.errors import DataError


@pytest.fixture
def torchvision_datasets(monkeypatch):
    """Stands for `torchvision.datasets`, which would load torch; `CIFAR10` is to be set."""
    module = ModuleType("torchvision.datasets")
    monkeypatch.setitem(sys.modules, "torchvision.datasets", module)
    return module


def test_the_digits_are_1797_images_in_10_classes(tmp_path):
    from sklearn.datasets import load_digits

    target = tmp_path / "data" / "digits"
    assert examples.prepare("digits", str(target)) == f"{target}: wrote 1,797 images."
    manifest = labelled.load(str(target))
    digits = load_digits()
    assert manifest.classes == tuple("0123456789")
    assert np.bincount(manifest.labels).tolist() == np.bincount(digits.target).tolist()
    with Image.open(target / "4" / "0100.png") as image:
        assert digits.target[100] == 4
        assert image.size == (8, 8)
        assert np.array_equal(np.asarray(image), (digits.images[100] * 255 / 16).round())
    assert [path.name for path in target.parent.iterdir()] == ["digits"], "nothing else is left behind"


def test_a_folder_that_is_there_is_not_touched(tmp_path):
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits/mine.png").touch()
    assert examples.prepare("digits", str(tmp_path / "digits")).endswith("there already.")
    assert [path.name for path in (tmp_path / "digits").iterdir()] == ["mine.png"]


def test_peoples_own_data_is_never_made_up(tmp_path):
    assert examples.prepare("none", str(tmp_path)).endswith("there already.")
    with pytest.raises(DataError, match="does not exist"):
        examples.prepare("none", str(tmp_path / "photos"))


def test_the_folder_appears_only_when_it_is_complete(tmp_path, monkeypatch):
    def broken():
        yield "0/0.png", picture(0)
        assert not (tmp_path / "digits").exists()
        raise KeyboardInterrupt

    def whole():
        yield "0/1.png", picture(1)

    monkeypatch.setattr(examples, "_digits", broken)
    with pytest.raises(KeyboardInterrupt):
        examples.prepare("digits", str(tmp_path / "digits"))
    assert not (tmp_path / "digits").exists()
    monkeypatch.setattr(examples, "_digits", whole)
    examples.prepare("digits", str(tmp_path / "digits"))
    found = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png")]
    assert found == ["digits/0/1.png"], "nothing of the interrupted attempt is left"


@pytest.mark.parametrize(
    "error",
    [URLError("Name or service not known"), RuntimeError("Error downloading"), OSError("Network is unreachable")],
)
def test_cifar10_without_a_network_is_one_clear_sentence(tmp_path, torchvision_datasets, error):
    def offline(*_, **__):
        raise error

    torchvision_datasets.CIFAR10 = offline
    with pytest.raises(DataError, match=r"CIFAR-10 could not be downloaded .*Connect to a network, or use DATA="):
        examples.prepare("cifar10", str(tmp_path / "cifar10"))
    assert not (tmp_path / "cifar10").exists()


class TinyCifar:
    """What `CIFAR10` gives: pictures and labels by number, and the names of the classes."""

    classes = ("airplane", "cat")

    def __init__(self, root, train, download):
        self.train = train
        assert download

    def __len__(self):
        return 40 if self.train else 4

    def __getitem__(self, number):
        if number >= len(self):
            raise IndexError
        return picture(number + 100 * self.train, (32, 32)), number % 2


@pytest.mark.filterwarnings("ignore:No image in:headstart.errors.DataWarning")
def test_cifar10_keeps_its_own_test_split_and_its_class_names(tmp_path, torchvision_datasets):
    torchvision_datasets.CIFAR10 = TinyCifar
    examples.prepare("cifar10", str(tmp_path / "cifar10"))
    manifest = labelled.load(str(tmp_path / "cifar10"))
    assert manifest.classes == TinyCifar.classes
    assert (manifest.splits == labelled.TEST).sum() == 4
    with Image.open(tmp_path / "cifar10/test/cat/00003.png") as image:
        assert np.array_equal(np.asarray(image), np.asarray(picture(3, (32, 32))))


def test_a_place_that_cannot_be_written_is_one_clear_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"cannot be written: (Not a directory|File exists)"):
        examples.prepare("digits", str(tmp_path / "file" / "digits"))


def test_of_two_that_write_one_folder_the_second_waits_and_finds_it(tmp_path, monkeypatch):
    """`make extract` in two terminals begins with `make data` twice."""
    pictures = [(f"{number}/a.png", picture(number)) for number in range(3)]
    monkeypatch.setattr(examples, "_digits", lambda: iter(pictures))
    with ThreadPoolExecutor(2) as threads:
        said = sorted(threads.map(lambda _: examples.prepare("digits", str(tmp_path / "digits")), range(2)))
    assert [each.partition(": ")[2] for each in said] == ["there already.", "wrote 3 images."]
    assert [each.name for each in tmp_path.iterdir()] == ["digits"]
