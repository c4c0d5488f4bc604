"""The settings of a training run: defaults, then a TOML file, then the command line, each overriding the one before."""

import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from service.rows.dialect import Dialect
from training.data.choices import Choices, ImageChoices
from training.errors import ConfigError
from training.flags import Delimiter, Encoding, ModelName, Names, explain, flag, named_as

Share = Annotated[float, Field(gt=0, lt=0.5)]
Pixels = Annotated[int, Field(ge=1, le=4096)]
DropProbability = Annotated[float, Field(ge=0, lt=1)]
DEVICE = r"^(auto|cpu|gpu|mps|(cuda|xpu)(:(0|[1-9]\d{0,3}))?)$"
"""The pattern of a device's name."""
DEVICES = "auto, cpu, gpu, cuda, cuda:N, xpu, xpu:N or mps"
"""The names of devices, for error messages."""


def _height_and_width(value: object) -> object:
    if isinstance(value, int):
        return (value, value)
    if not isinstance(value, str):
        return value
    sides = value.lower().replace("×", "x").split("x")
    if len(sides) > 2 or not all(side.strip().isdecimal() for side in sides):
        raise ValueError("expected pixels, height and width, such as 64 or 48x64")
    return (sides * 2)[:2]


Size = Annotated[tuple[Pixels, Pixels], BeforeValidator(_height_and_width)]


class TrainConfig(BaseModel):
    """Settings of a training run. Each field is a flag of the command line and a key of the TOML file."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    data: str = Field(default="digits", min_length=1)
    """Data to learn from: a file (.csv, .jsonl, .parquet, .npz, IDX; also .gz), a folder of Parquet files, a folder
    with a folder of images a class, or digits."""
    target: str | None = None
    """Column of a table to learn."""
    ignore: Names = ()
    """Columns that are not used, separated by commas; the flag may be repeated."""
    categorical: Names = ()
    """Columns whose whole numbers are names, not amounts, separated by commas; texts always are."""
    task: Literal["auto", "classification", "regression"] = "auto"
    """Task: auto is classification for texts and few whole numbers, else regression."""
    missing: Literal["refuse", "drop", "median"] = "refuse"
    """Missing values: refuse stops with their places, drop leaves out such rows, median imputes, also in the
    service.
    """
    delimiter: Delimiter | None = None
    """Delimiter of a CSV file, such as ; or tab; detected unless given."""
    decimal: Literal[".", ","] | None = None
    """Decimal mark of a CSV file, . or a comma; detected unless given, or refused where ambiguous."""
    encoding: Encoding | None = None
    """Encoding of a CSV file, such as cp1252; utf-8 unless given."""
    size: Size | None = None
    """Height and width of pictures, as 64 or 48x64; unless given, their own, or where they differ a square of their
    median shorter side, at most 224.
    """
    resize: Literal["crop", "pad", "stretch"] = "crop"
    """Resizing of pictures: crop covers the size and cuts the rest, pad fits inside it on the background, stretch
    distorts.
    """
    mode: Literal["L", "RGB"] | None = None
    """Mode of pictures: L is grey, RGB colour; unless given, L where all pictures are grey."""
    background: str = Field(default="#ffffff", pattern="^#[0-9a-fA-F]{6}$")
    """Colour under transparent pixels and beside padded pictures."""
    others: str | None = None
    """OOD data: a file or folder of rows that should get a high uncertainty; the evaluation measures whether
    they do.
    """
    with_reviewed: str | None = Field(default=None, min_length=1)
    """Prediction log, its folder or URL, whose labelled rows for this model name are added to the training part."""
    name: ModelName = "digits"
    """Name to publish the model under, by default that of the data: letters, digits, dots, hyphens, underscores."""
    description: str = ""
    """A sentence on the purpose of the model, for its manifest and card."""
    models: Path = Path("models")
    """Folder of published models; the run adds NAME/VERSION to it."""
    network: Literal["auto", "mlp", "lenet", "resnet"] = "auto"
    """Kind of network: auto is lenet for images of 16 pixels a side and more, else mlp."""
    class_weights: Literal["none", "balanced"] = "none"
    """Weights of rows in the loss: balanced gives each class the same total weight, which rare classes need."""
    module: str | None = Field(default=None, pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
    """Your own network instead, PACKAGE.MODULE:FUNCTION; the function returns a torch.nn.Module."""
    hidden: tuple[Annotated[int, Field(ge=1)], ...] = Field(default=(256, 256), min_length=1)
    """Units of each fully connected hidden layer, separated by commas; unless given, 500 for lenet."""
    dropout: DropProbability | Literal["learned"] = 0.5
    """Probability that a hidden unit is dropped, or learned; unless given, 0.1 for a regression."""
    noise: Literal["fitted", "learned", "fixed"] = "fitted"
    """Observation noise of a regression: fitted, the same for all rows; learned, predicted for each row; fixed,
    by tau.
    """
    tau: float | None = Field(default=None, gt=0)
    """Precision of fixed noise, 1 / variance in the target's own unit; length_scale penalises the weights."""
    length_scale: float | None = Field(default=None, gt=0)
    """Prior of the weights, a large one keeps them small: for fixed noise and learned dropout; 0.01 unless given."""
    input_dropout: DropProbability = 0.0
    """Probability that an input is dropped; it is not learned."""
    epochs: int = Field(default=200, ge=1)
    """Passes over the training part, unless given fewer where it is large; the best on the validation part is kept."""
    early_stopping: int = Field(default=0, ge=0)
    """Epochs without improvement on the validation part after which training ends; 0: never."""
    batch_size: int = Field(default=64, ge=1)
    """Rows a step."""
    learning_rate: float = Field(default=3e-3, gt=0)
    """Highest step size; it is warmed up to and then annealed to zero."""
    weight_decay: float = Field(default=1e-2, ge=0)
    """Decoupled weight decay of AdamW."""
    validation_share: Share = 0.1
    """Share of the rows that choose the best epoch and fit the temperatures."""
    calibration_share: Share = 0.2
    """Share of the rows that fit conformal quantiles and abstention thresholds."""
    test_share: Share = 0.2
    """Share of the rows that is held out for the figures in the manifest."""
    passes: int = Field(default=100, ge=2)
    """Samples a row, when uncertainty is calibrated and evaluated."""
    sample_sites: Names = ()
    """Dropout sites that stay on in samples, separated by commas: names, globs, last:N for the last N, or auto:0.95 for
    the fewest last ones that find errors 0.95 times as well as all; unless given, all.
    """
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Seed of the split, first weights, order of rows and dropout; on the CPU, the same seed gives the same model."""
    device: str = Field(default="auto", pattern=DEVICE)
    """Device: auto, cpu, gpu, cuda, cuda:N, xpu, xpu:N or mps; gpu is the one that torch finds."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the products in training: auto is bfloat16 on a GPU that has it, else float32; all else is in
    float32.
    """
    compile: Literal["off", "on"] = "off"
    """Whether torch.compile makes the training steps faster: minutes at first, worth it for long runs on a GPU."""
    checkpoint: Path | None = None
    """File for the state after each epoch, from which an interrupted run can be resumed."""
    resume: Path | None = None
    """Checkpoint to resume from, with its settings; on the CPU the result is the same bit for bit."""
    log: Path | None = None
    """CSV file for a line an epoch: losses and score."""
    tensorboard: Path | None = None
    """Folder for each epoch's losses, score and learning rate, in TensorBoard's format."""

    @property
    def choices(self) -> Choices:
        """The choices about the data."""
        images = ImageChoices(self.size, self.resize, self.mode, self.background)
        dialect = Dialect(self.delimiter, self.decimal, self.encoding)
        return Choices(self.target, self.ignore, self.categorical, self.task, self.missing, images, dialect)

    @model_validator(mode="before")
    @classmethod
    def _named_as_the_data(cls, values: object) -> object:
        if not isinstance(values, dict) or "name" in values or not isinstance(values.get("data"), str):
            return values
        return values | {"name": named_as(values["data"])}

    @field_validator("hidden", mode="before")
    @classmethod
    def _split_at_commas(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        parts = [part.strip() for part in value.split(",")]
        if not all(part.isdecimal() for part in parts):
            raise ValueError("expected whole numbers with commas between them, such as 256,256")
        return parts

    @field_validator("*", mode="before")
    @classmethod
    def _no_yes_or_no(cls, value: object) -> object:
        """Refuse booleans of TOML: no setting is one, and Python would take true for 1."""
        if isinstance(value, bool):
            raise ValueError("expected a value other than true or false")
        return value

    @model_validator(mode="after")
    def _knows_its_noise(self) -> "TrainConfig":
        if self.noise == "fixed" and self.tau is None:
            raise ValueError("noise fixed needs tau, its precision: 1 / variance in the target's own unit")
        if self.noise != "fixed" and self.tau is not None:
            raise ValueError(
                f"tau is the precision of fixed noise, and noise is {self.noise}; set noise to fixed as well"
            )
        if self.length_scale is not None and self.noise != "fixed" and self.dropout != "learned":
            raise ValueError(
                "length_scale is the prior of the weights, which only noise fixed and dropout learned have"
            )
        return self

    @model_validator(mode="after")
    def _can_learn_dropout(self) -> "TrainConfig":
        if self.dropout == "learned" and self.module:
            raise ValueError("dropout learned is for built-in networks; a module of your own has its own dropout")
        return self

    @model_validator(mode="after")
    def _drops_something(self) -> "TrainConfig":
        if self.dropout == self.input_dropout == 0:
            raise ValueError("dropout and input_dropout are both 0; with nothing to drop there is nothing to sample")
        return self


def load_config(file: Path | None, flags: Mapping[str, Any]) -> TrainConfig:
    """Return the settings of `flags` over those of the TOML `file` over the defaults.

    Raises ConfigError naming the file or flag, the setting, and the expected value.
    """
    values = {} if file is None else _read_toml(file)
    for key in values:
        if key not in TrainConfig.model_fields:
            raise ConfigError(f"{file}: {key}: there is no such setting{_nearest(key)}")

    def place(key: str) -> str:
        return flag(key) if key in flags else f"{file}: {key}"

    try:
        return TrainConfig.model_validate({**values, **flags})
    except ValidationError as error:
        raise ConfigError(explain(error.errors(include_url=False)[0], place, TrainConfig)) from None


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(f"{file}: cannot be read: {reason}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: is not TOML: {error}") from None


def _nearest(key: str) -> str:
    close = get_close_matches(key.replace("-", "_"), TrainConfig.model_fields, n=1)
    return f"; did you mean {close[0]}?" if close else f"; there are: {', '.join(TrainConfig.model_fields)}"
