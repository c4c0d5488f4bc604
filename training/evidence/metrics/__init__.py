"""Answers and the truth → figures. Pure functions of numpy arrays, in float64; the docstrings give the sources.

A figure that the rows cannot tell, such as how well wrong answers are told apart when none is wrong, is NaN.
"""

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
Bool = NDArray[np.bool_]
