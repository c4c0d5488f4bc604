import re
from pathlib import Path

import pytest

from training.config import TrainConfig, load_config
from training.errors import ConfigError


def write(folder: Path, text: str) -> Path:
    file = folder / "run.toml"
    file.write_text(text)
    return file


def test_flags_go_over_the_file_and_the_file_over_the_defaults(tmp_path: Path) -> None:
    file = write(tmp_path, "epochs = 7\nhidden = [32, 16]\ndropout = 0.25")
    config = load_config(file, {"epochs": "9", "learning_rate": "1e-4"})
    assert (config.epochs, config.hidden, config.dropout, config.learning_rate) == (9, (32, 16), 0.25, 1e-4)
    assert config.batch_size == TrainConfig().batch_size


def test_hidden_layers_are_separated_by_commas() -> None:
    assert load_config(None, {"hidden": "64, 32,16"}).hidden == (64, 32, 16)


@pytest.mark.parametrize(
    ("key", "nearest"), [("epoch", "epochs"), ("learning-rate", "learning_rate"), ("hiden", "hidden")]
)
def test_an_unknown_key_names_the_nearest(tmp_path: Path, key: str, nearest: str) -> None:
    file = write(tmp_path, f"{key} = 1")
    with pytest.raises(ConfigError, match=rf"run\.toml: {key}: there is no such setting; did you mean {nearest}\?"):
        load_config(file, {})


def test_a_key_like_no_other_lists_them_all(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"zzz: there is no such setting; there are: data, target, .*device"):
        load_config(write(tmp_path, "zzz = 1"), {})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("epochs = 'many'", r"epochs: must be a valid integer.*given: 'many'\. Passes over"),
        ("epochs = 1.5", r"epochs: must be a valid integer.*given: 1\.5"),
        ("epochs = true", r"epochs: expected a value other than true or false; given: True"),
        ("epochs = 0", r"epochs: must be greater than or equal to 1; given: 0"),
        ("dropout = 1.0", r"dropout: must be less than 1; given: 1\.0"),
        ("learning_rate = nan", r"learning_rate: must be .*finite"),
        ("hidden = []", r"hidden: must have at least 1 item"),
        ("hidden = [0]", r"hidden: must be greater than or equal to 1; given: 0"),
        ("name = '../etc'", r"name: expected at most 100 letters, .* digit first; given: '\.\./etc'\. Name to publish"),
        ("device = 'tpu'", r"device: must match pattern.*given: 'tpu'\. Device: auto, cpu, gpu"),
        ("task = 'ranking'", r"task: must be 'auto', 'classification' or 'regression'; given: 'ranking'"),
        ("module = 'net.py'", r"module: must match pattern.*given: 'net\.py'\. Your own network"),
        ("dropout = 0", r"dropout and input_dropout are both 0"),
        ("epochs = ", r"run\.toml: is not TOML"),
    ],
)
def test_a_wrong_value_names_the_file_the_setting_and_what_was_expected(
    tmp_path: Path, line: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(write(tmp_path, line), {})


@pytest.mark.parametrize("given", ["", "64;32", "64,,32", "-1"])
def test_hidden_layers_that_are_no_numbers(given: str) -> None:
    with pytest.raises(
        ConfigError, match=r"^--hidden: expected whole numbers with commas between them, such as 256,256"
    ):
        load_config(None, {"hidden": given})


def test_a_wrong_flag_is_named_as_it_was_typed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^--batch-size: must be a valid integer"):
        load_config(write(tmp_path, "batch_size = 8"), {"batch_size": "x"})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read: No such file"):
        load_config(tmp_path / "none.toml", {})


def test_the_readmes_file_is_one(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```toml\n(.*?)```", readme, re.DOTALL)
    config = load_config(write(tmp_path, example), {})
    assert (config.hidden, config.dropout, config.epochs) == ((128, 128), 0.3, 40)


def test_every_setting_is_described() -> None:
    assert [key for key, field in TrainConfig.model_fields.items() if not field.description] == []


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("houses.csv", "houses"),
        ("a/my data (2).csv", "my-data-2-"),
        ("train-images.gz", "train-images"),
        ("日.csv", "model"),
    ],
)
def test_the_model_is_named_as_its_data(data: str, name: str) -> None:
    assert load_config(None, {"data": data}).name == name
    assert load_config(None, {"data": data, "name": "other"}).name == "other"


def test_columns_are_separated_by_commas() -> None:
    assert load_config(None, {"ignore": "a, b c"}).ignore == ("a", "b c")
    assert load_config(None, {"ignore": ["Size (m, inside)", "b"]}).ignore == ("Size (m, inside)", "b")
