"""Flags of names: separated by commas, repeated, and with commas of their own."""

import pytest
from typer.testing import CliRunner

from training.config import TrainConfig
from training.flags import given, split_names


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
    from training import cli
    from training.importing import cli as import_cli

    seen: list[object] = []

    def stop(settings: TrainConfig) -> None:
        seen.append(settings.ignore)

    monkeypatch.setattr(cli, "_run", stop)
    monkeypatch.setattr(import_cli, "_run", lambda request: (seen.append(request.ignore), 1 / 0))
    file = ["net.onnx", "--labels", "a,b"] if command == "import" else []
    arguments = [command, *file, "--data", "x.csv", "--ignore", "a,b", "--ignore", "c", "--target", "y"]
    CliRunner().invoke(cli.app, arguments)
    assert seen == [("a", "b", "c")]
