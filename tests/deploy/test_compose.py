"""What docker-compose.yml bounds, for each of its services."""

from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


@pytest.mark.parametrize("name", SERVICES)
def test_memory_processes_and_logs_are_bounded(name: str) -> None:
    service = SERVICES[name]
    assert service["mem_limit"]
    assert 0 < service["pids_limit"] <= 4096
    assert {"max-size", "max-file"} <= service["logging"]["options"].keys()


@pytest.mark.parametrize(("name", "variable"), [("dropserve", "MEMORY"), ("training", "TRAINING_MEMORY")])
def test_memory_is_set_by_a_variable_that_is_no_setting(name: str, variable: str) -> None:
    assert SERVICES[name]["mem_limit"].startswith(f"${{{variable}:-")
