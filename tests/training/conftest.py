"""The digits and their split; tests that need an accelerator say why they are skipped, or fail by REQUIRE_GPU."""

import os

import pytest
import torch

from training.data import Dataset, Split, load_data, split_data
from training.networks.device import what_torch_finds

REQUIRED = bool(os.environ.get("REQUIRE_GPU"))
"""Set where there is a GPU, so that tests fail with a build of torch that cannot use it instead of being skipped."""


def pytest_runtest_setup(item: pytest.Item) -> None:
    """`gpu` needs one, `gpu(2)` two."""
    for mark in item.iter_markers("gpu"):
        wanted = mark.args[0] if mark.args else 1
        if torch.accelerator.device_count() >= wanted:
            continue
        if REQUIRED and wanted == 1:
            pytest.fail(f"REQUIRE_GPU is set, and {what_torch_finds()}")
        pytest.skip(f"needs {wanted} GPU, and {what_torch_finds()}")


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return load_data("digits")


@pytest.fixture(scope="session")
def split(digits: Dataset) -> Split:
    return split_data(digits, 0.2, 0.2, 0.2, 0)
