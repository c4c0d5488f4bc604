"""Flags of names: separated by commas, repeated, and with commas of their own."""

import pytest
from typer.testing import CliRunner

from training import cli
from training.config import TrainConfig
from training.errors import TrainingError
from training.flags import given, split_names
from training.importing import cli as import_cli
from training.importing.request import ImportRequest


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a", ["a"]),
        ("a, b c", ["a", "b c"]),
        ('"Size (m, inside)",b', ["Size (m, inside)", "b"]),
        ("'quoted'", ["'quoted'"]),
        ("", [""]),
        ("a,,b", ["a", "", "b"]),
    ],
)
def test_names_are_split_at_commas_outside_quotes(text: str, names: list[str]) -> None:
    assert split_names(text) == names


def test_a_flag_that_comes_again_adds_names() -> None:
    found = given({"ignore": ["a,b", "c", '"d, e"'], "target": "y", "task": None, "categorical": []})
    assert found == {"ignore": ["a", "b", "c", "d, e"], "target": "y"}


@pytest.mark.parametrize("command", ["train", "import"])
def test_repeated_flags_reach_the_settings(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []

    def stop(settings: TrainConfig | ImportRequest) -> None:
        seen.append(settings.ignore)
        raise TrainingError("stopped")

    monkeypatch.setattr(cli, "_run", stop)
    monkeypatch.setattr(import_cli, "_run", stop)
    file = ["net.onnx", "--labels", "a,b"] if command == "import" else []
    arguments = [command, *file, "--data", "x.csv", "--ignore", "a,b", "--ignore", "c", "--target", "y"]
    CliRunner().invoke(cli.app, arguments)
    assert seen == [("a", "b", "c")]
