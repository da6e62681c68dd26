"""audit.csv: its columns, and an order that does not change."""

import random

from headstart.audit.finding import COLUMNS, Finding, write
from headstart.support.files import read_csv

FOUND = [
    Finding("b.jpg", "wrong label", "is labelled cat, but looks like dog", 0.9, "", "dog", "relabel"),
    Finding("a.jpg", "wrong label", "is labelled dog, but looks like cat", 0.5, "", "cat", "drop"),
    Finding("c.jpg", "wrong label", "is labelled dog, but looks like cat", 0.5, "", "cat", "drop"),
    Finding("a.jpg", "copy", "has the very bytes of the other image", 1.0, "\udce9, “x”.jpg", "", "drop"),
    Finding("", "classes alike", "cat and dog are hard to tell apart", 1 / 3),
]


def test_rows_have_one_order(tmp_path):
    for seed in range(5):
        write(tmp_path / "audit.csv", random.Random(seed).sample(FOUND, len(FOUND)))
        header, *rows = read_csv(tmp_path / "audit.csv")
        assert header == list(COLUMNS)
        assert rows[0] == ["b.jpg", "wrong label", FOUND[0].what, "0.9000", "", "dog", "relabel"]
        assert [row[0] for row in rows] == ["b.jpg", "a.jpg", "c.jpg", "a.jpg", ""]
        assert rows[3][4] == FOUND[3].other
        assert rows[4][3] == "0.3333"


def test_data_without_a_finding_has_the_header_alone(tmp_path):
    write(tmp_path / "audit.csv", [])
    assert list(read_csv(tmp_path / "audit.csv")) == [list(COLUMNS)]
