"""Figures of answers and the truth: pure functions of numpy arrays, in float64, with sources in the docstrings.

A figure that is not defined for the rows, such as the AUROC of wrong answers where none is wrong, is NaN.
"""

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
Bool = NDArray[np.bool_]
Figures = dict[str, dict[str, float]]
"""Figures by kind of answer (baseline, deterministic or mc) and name."""
