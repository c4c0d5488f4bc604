"""Answers as CSV."""

import numpy as np

from service.api.replies import Columns
from service.bulk.scoring import to_csv


def test_a_table_has_the_columns_of_one_value_a_row() -> None:
    columns: Columns = {
        "label": ["a", "b"],
        "probability": list(np.array([0.9, 1e-5], dtype=np.float32)),
        "values": list(np.array([[0.1], [0.2]], dtype=np.float32)),
        "probabilities": list(np.ones((2, 3), dtype=np.float32)),
    }
    assert to_csv(columns) == b"label,probability,values\na,0.9,0.1\nb,1e-05,0.2"


def test_a_number_that_is_not_known_is_an_empty_cell() -> None:
    assert to_csv({"label": ["a"], "standard_error": [float("nan")]}) == b"label,standard_error\na,"


def test_sets_of_different_sizes_are_left_out() -> None:
    assert to_csv({"label": ["a", "b"], "prediction_set": [["a"], ["a", "b"]]}) == b"label\na\nb"
