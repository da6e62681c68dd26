"""The table of classes, counted by hand."""

import numpy as np

from headstart.report.gallery import class_rows
from headstart.runs.predictions import Predictions


def test_figures_of_classes_and_none_where_there_is_nothing_to_divide_by():
    """Class z is neither true nor predicted, and x is never predicted by the second model."""
    labels, confidence = np.array([0, 0, 1, 1, 1]), np.full(5, 0.9)
    models = [
        Predictions(list("abcde"), labels, np.array(predicted), confidence, ("x", "y", "z"))
        for predicted in ([0, 1, 1, 1, 0], [1, 1, 1, 1, 1])
    ]
    harder, easier = class_rows(models)
    assert [(row.name, row.images) for row in (harder, easier)] == [("x", 2), ("y", 3)]
    np.testing.assert_array_equal(harder.figures, [(1 / 2, 1 / 2, 1 / 2), (np.nan, 0, 0)])
    np.testing.assert_array_equal(easier.figures, [(2 / 3, 2 / 3, 2 / 3), (3 / 5, 1, 3 / 4)])
