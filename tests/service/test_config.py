"""The settings: each is documented, read from its environment variable, and checked."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from service.config import Settings, explain, find_misspelt
from tools.docs.make_settings import meanings, row

ROOT = Path(__file__).parents[2]
DOCUMENTED = ROOT / "docs" / "settings.md"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_has_a_docstring(name: str) -> None:
    assert meanings()[name]


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_documented(name: str) -> None:
    """`python -m tools.docs.make_settings` writes the page."""
    assert row(name) in DOCUMENTED.read_text().splitlines()


def test_compose_hands_every_setting_on() -> None:
    handed_on = re.findall(r"^ {6}DROPSERVE_(\w+):", (ROOT / "docker-compose.yml").read_text(), re.MULTILINE)
    assert sorted(handed_on) == sorted(name.upper() for name in Settings.model_fields)


def test_nothing_else_is_documented() -> None:
    rows = [line for line in DOCUMENTED.read_text().splitlines() if line.startswith("| `DROPSERVE_")]
    assert len(rows) == len(Settings.model_fields)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("models", "/srv/models", Path("/srv/models")),
        ("models", "s3://bucket/models", "s3://bucket/models"),
        ("default_model", "digits", "digits"),
        ("pins", '{"digits": 1}', {"digits": 1}),
        ("watch", "false", False),
        ("port", "0", 0),
        ("seed", str(2**53), 2**53),
        ("request_timeout", "0.5", 0.5),
        ("queue_size", "1", 1),
        ("inline_seconds", "0", 0),
        ("root_path", "/a/ml/", "/a/ml"),
        ("log_level", "warning", "warning"),
        ("log_level", "WARNING", "warning"),
        ("host", "[::1]", "::1"),
    ],
)
def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch, name: str, text: str, value: Any) -> None:
    monkeypatch.setenv(f"DROPSERVE_{name.upper()}", text)
    assert getattr(Settings(), name) == value


def test_an_empty_variable_is_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose writes `DROPSERVE_DEFAULT_MODEL: ${DEFAULT_MODEL:-}`."""
    monkeypatch.setenv("DROPSERVE_DEFAULT_MODEL", "")
    monkeypatch.setenv("DROPSERVE_PORT", "")
    assert (Settings().default_model, Settings().port) == (None, 8000)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", 65536),
        ("port", -1),
        ("port", "http"),
        ("seed", -1),
        ("samples", 0),
        ("max_rows", 0),
        ("queue_size", 0),
        ("request_timeout", 0),
        ("drain_timeout", -1),
        ("log_level", "loud"),
        ("threads", 0),
        ("mask_cache_bytes", -1),
        ("pins", {"digits": 0}),
        ("poll_seconds", 0),
        ("max_model_bytes", 0),
        ("root_path", "ml"),
        ("root_path", "/ml/../x"),
        ("root_path", "https://example.org/ml"),
    ],
)
def test_wrong_values_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=name):
        Settings(**{name: value})


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ValidationError, match="prot"):
        Settings(prot=8000)  # type: ignore[call-arg]


def test_variables_that_are_no_settings_are_found() -> None:
    variables = ["PATH", "DROPSERVE_SEED", "dropserve_port", "DROPSERVE_PROT", "DROPSERVE_COLOUR"]
    assert find_misspelt(variables) == {"DROPSERVE_PROT": "DROPSERVE_PORT", "DROPSERVE_COLOUR": ""}


def test_what_kubernetes_sets_for_services_is_not_taken_for_settings() -> None:
    """For Services named dropserve, dropserve-grpc and dropserve-models, with a port of a name."""
    ends = ["PORT_8000_TCP", "PORT_8000_TCP_PROTO", "PORT_8000_TCP_PORT", "PORT_8000_TCP_ADDR"]
    ends += ["SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP"]
    names = ["DROPSERVE", "DROPSERVE_GRPC", "DROPSERVE_MODELS"]
    assert find_misspelt(f"{name}_{end}" for name in names for end in ends) == {}


def test_all_that_is_wrong_is_explained_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {
        "PORT": "tcp://10.0.0.1:8000",
        "GRPC_PORT": "http",
        "WORKERS": "0",
        "MAX_WAIT": "0",
        "PINS": "{",
        "CORS_ORIGINS": "https://app.example.org",
        "LOG_LEVEL": "loud",
        "ROOT_PATH": "ml",
    }
    for name, value in wrong.items():
        monkeypatch.setenv(f"DROPSERVE_{name}", value)
    with pytest.raises(ValidationError) as caught:
        Settings()
    reasons = explain(caught.value)
    link = reasons.pop("port")
    assert link.startswith("expected a number, found 'tcp://10.0.0.1:8000': Kubernetes sets it")
    assert "enableServiceLinks: false" in link
    assert reasons == {
        "grpc_port": "expected a whole number, found 'http'",
        "workers": "expected at least 1, found '0'",
        "max_wait": "expected more than 0.0, found '0'",
        "pins": "expected JSON, such as {\"digits\": 1}, found '{'",
        "cors_origins": "expected JSON, such as [\"https://app.example.org\"], found 'https://app.example.org'",
        "log_level": "expected 'debug', 'info', 'warning' or 'error', found 'loud'",
        "root_path": "expected a path such as /ml, of A-Z a-z 0-9 . _ ~ -, found 'ml'",
    }


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 80  # type: ignore[misc]
