"""CSV files with the columns path, label and perhaps split."""

from pathlib import Path

import pytest
from helpers.listing import labels, listed

from headstart.datasets.labelled import load
from headstart.datasets.manifest import UNLABELLED, count_by_class
from headstart.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore:No image in:headstart.errors.DataWarning")


@pytest.fixture
def table(files):
    """Writes photos.csv beside eight images `a.jpg` … `h.jpg`, and returns its path."""

    def write(text: str | bytes) -> str:
        root = files(*(f"{letter}.jpg" for letter in "abcdefgh"))
        (root / "photos.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(root / "photos.csv")

    return write


def test_a_csv_says_labels_and_splits_and_its_order_does_not_matter(table):
    data = table("split,path,label\ntest,b.jpg,dog\ntrain,a.jpg,cat\nvalid,d.jpg,cat\nTrain,c.jpg,dog\n")
    manifest = load(data)
    assert manifest.name == "photos"
    assert manifest.root == Path(data).parent
    assert list(listed(manifest).items()) == [
        ("a.jpg", ("cat", "train")),
        ("b.jpg", ("dog", "test")),
        ("c.jpg", ("dog", "train")),
        ("d.jpg", ("cat", "val")),
    ]


def test_a_csv_as_excel_writes_it_is_read(table):
    """A byte order mark, CRLF, quotes, a column more."""
    data = table(b'\xef\xbb\xbfpath,label,note\r\n"a.jpg","big, cat",x\r\nb.jpg,Hund \xc3\xbc,y\r\n')
    assert labels(load(data)) == {"a.jpg": "big, cat", "b.jpg": "Hund ü"}


def test_an_empty_label_is_an_image_without_a_label_and_no_class(table):
    manifest = load(table("path,label\na.jpg,cat\nb.jpg,\nc.jpg,dog\n"))
    assert manifest.classes == ("cat", "dog")
    assert manifest.labels.tolist() == [0, UNLABELLED, 1]
    assert count_by_class(manifest).sum() == 2


def test_a_csv_may_name_files_elsewhere(table, tmp_path_factory):
    other = tmp_path_factory.mktemp("other") / "x.jpg"
    other.write_bytes(b"x")
    manifest = load(table(f"path,label\n{other},cat\n./b.jpg,dog\n"))
    assert sorted(manifest.place(row) for row in range(2)) == sorted([other, manifest.root / "b.jpg"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\na.jpg,cat\n", "lacks the column path; it has file, label"),
        ("a.jpg,cat\nb.jpg,dog\n", "lacks the column path and label"),
        ("path;label\na.jpg;cat\n", "lacks the column path and label; it has path;label"),
        ("", "lacks the column path and label; it has nothing"),
        ("path,label\n", "names no images"),
        ("path,label\na.jpg,cat\nnone.jpg,dog\n", r"line 3: .*none\.jpg: No such file"),
        ("path,label\na.jpg,cat\nb.jpg\n", "line 3: path or label is missing"),
        ("path,label\na.jpg,cat\n,dog\n", "line 3: path or label is missing"),
        ("path,label\na.jpg,cat\nb\0.jpg,dog\n", "line 3|cannot be read as a UTF-8 CSV"),
        ("path,label,split\na.jpg,cat,train\nb.jpg,dog,dev\n", "line 3: the split is 'dev'; expected train, val or"),
        ("path,label,split\na.jpg,cat,train\nb.jpg,dog\n", "line 3: the split is None"),
        ("path,label\na.jpg,cat\nb.jpg,dog\n./a.jpg,dog\n", r"names a\.jpg twice"),
        ("path,label\na.jpg,cat\nb.jpg,cat\n", "only the class 'cat'"),
        ("path,label\na.jpg,\nb.jpg,\n", "has no labels"),
        ("path,label,split\na.jpg,cat,train\nb.jpg,dog,test\n", "'dog' has images in test"),
        (b"path,label\na.jpg,Hund \xfc\n", "cannot be read as a UTF-8 CSV"),
        ("path,label\n" + "a" * 300 + ".jpg,cat\n", "line 2: .*File name too long"),
    ],
)
def test_a_csv_that_is_no_data_set_is_refused_by_line_and_name(table, text, message):
    data = table(text)
    with pytest.raises(DataError, match=message) as refused:
        load(data)
    assert str(Path(data).parent) in str(refused.value)


def test_a_csv_that_names_a_folder_is_told_so(make_photos, tmp_path):
    make_photos({"cat": 2, "dog": 2})
    (tmp_path / "photos.csv").write_text("path,label\nphotos/cat,cat\nphotos/dog/000.png,dog\n")
    with pytest.raises(DataError, match=r"line 2.*is not a file"):
        load(tmp_path / "photos.csv")
