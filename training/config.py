"""The settings of a training run: defaults, then a TOML file, then the command line, each over the one before."""

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
DEVICES = "auto, cpu, gpu, cuda, cuda:N, xpu, xpu:N or mps"


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
    """What a training run is asked to do. Each field is a flag of the command line and a key of the TOML file."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    data: str = Field(default="digits", min_length=1)
    """Data to learn from: a file (.csv, .jsonl, .parquet, .npz, IDX; also .gz), a folder of Parquet files, a folder
    with a folder of images a class, or digits."""
    target: str | None = None
    """Column to learn, of a table."""
    ignore: Names = ()
    """Columns not to use, separated by commas; the flag may come again."""
    categorical: Names = ()
    """Columns whose whole numbers are names, not amounts, separated by commas; texts are anyway."""
    task: Literal["auto", "classification", "regression"] = "auto"
    """What is learned: auto is classification for texts and few whole numbers, else regression."""
    missing: Literal["refuse", "drop", "median"] = "refuse"
    """Missing values: refuse says where, drop leaves such rows out, median stands for them, in the service too."""
    delimiter: Delimiter | None = None
    """Mark between the cells of a CSV file, such as ; or tab; unless given, it is found in the file."""
    decimal: Literal[".", ","] | None = None
    """Decimal mark of its numbers, . or a comma; unless given, it is found, or refused where unsure."""
    encoding: Encoding | None = None
    """Its encoding, such as cp1252; unless given, utf-8."""
    size: Size | None = None
    """Height and width that pictures are brought to, as 64 or 48x64; unless given, their own, or where they differ a
    square of their median shorter side, at most 224."""
    resize: Literal["crop", "pad", "stretch"] = "crop"
    """How: crop covers the size and cuts what is over, pad fits in on the background, stretch alters the shape."""
    mode: Literal["L", "RGB"] | None = None
    """Of pictures: L is grey, RGB colour; unless given, L where all pictures are grey."""
    background: str = Field(default="#ffffff", pattern="^#[0-9a-fA-F]{6}$")
    """Colour under what is transparent in pictures, and beside what is padded."""
    others: str | None = None
    """Second data set, a file or folder of rows that the network should doubt; the figures tell whether it does."""
    with_reviewed: str | None = Field(default=None, min_length=1)
    """Prediction log, its folder or URL, whose rows of this name that persons labelled are trained on as well."""
    name: ModelName = "digits"
    """Name to publish the model under, by default that of the data: letters, digits, dots, hyphens, underscores."""
    description: str = ""
    """A sentence on what the model is for; stands in its manifest and card."""
    models: Path = Path("models")
    """Folder of published models; the run adds NAME/VERSION to it."""
    network: Literal["auto", "mlp", "lenet", "resnet"] = "auto"
    """Kind of network: auto is lenet for images of 16 pixels a side and more, else mlp."""
    class_weights: Literal["none", "balanced"] = "none"
    """How rows count in the loss: balanced counts each class as often as any other, which rare classes need."""
    module: str | None = Field(default=None, pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
    """Your own network instead, PACKAGE.MODULE:FUNCTION; the function returns a torch.nn.Module."""
    hidden: tuple[Annotated[int, Field(ge=1)], ...] = Field(default=(256, 256), min_length=1)
    """Units of each fully connected hidden layer, separated by commas; unless given, 500 for lenet."""
    dropout: DropProbability | Literal["learned"] = 0.5
    """Probability that a hidden unit is dropped, or learned; unless it is given, 0.1 for a regression."""
    noise: Literal["fitted", "learned", "fixed"] = "fitted"
    """Noise of a regression's target: fitted, the same for all rows; learned, that of each row; fixed, as tau says."""
    tau: float | None = Field(default=None, gt=0)
    """Precision of fixed noise, 1 / variance in the target's own unit; the weights are penalised by length_scale."""
    length_scale: float | None = Field(default=None, gt=0)
    """Prior of the weights: large keeps them small. Of fixed noise and of learned dropout; 0.01 unless given."""
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
    """Share of the rows that picks the best epoch and fits the temperatures."""
    calibration_share: Share = 0.2
    """Share of the rows that conformal quantiles and abstention thresholds are taken from."""
    test_share: Share = 0.2
    """Share of the rows that is held out for the figures in the manifest."""
    passes: int = Field(default=100, ge=2)
    """Thinned networks a row, when uncertainty is calibrated and evaluated."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Of the split, first weights, order of rows and dropout; on the CPU, the same seed gives the same model."""
    device: str = Field(default="auto", pattern=DEVICE)
    """Where to train: auto, cpu, gpu, cuda, cuda:N, xpu, xpu:N or mps; gpu is the one that torch finds."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the products in training: auto is bfloat16 on a GPU that has it, else float32; all else is in float32."""
    compile: Literal["off", "on"] = "off"
    """Whether torch.compile makes the training steps faster: minutes at first, worth it for long runs on a GPU."""
    checkpoint: Path | None = None
    """File to keep each epoch's state in, to go on from when training is interrupted."""
    resume: Path | None = None
    """Checkpoint to go on from, with the settings that are in it; on the CPU the result is the same bit for bit."""
    log: Path | None = None
    """CSV file to write a line to for each epoch: losses and score."""
    tensorboard: Path | None = None
    """Folder to write each epoch's losses, score and learning rate to, for TensorBoard to show."""

    @property
    def choices(self) -> Choices:
        """What is said of the data."""
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
        """TOML has booleans, no setting is one, and Python would take true for 1."""
        if isinstance(value, bool):
            raise ValueError("expected no true or false")
        return value

    @model_validator(mode="after")
    def _knows_its_noise(self) -> "TrainConfig":
        if self.noise == "fixed" and self.tau is None:
            raise ValueError("noise fixed needs tau, its precision: 1 / variance in the target's own unit")
        if self.noise != "fixed" and self.tau is not None:
            raise ValueError(f"tau is the precision of fixed noise, and noise is {self.noise}; say noise fixed as well")
        if self.length_scale is not None and self.noise != "fixed" and self.dropout != "learned":
            raise ValueError(
                "length_scale is the prior of the weights, which noise fixed and dropout learned alone have"
            )
        return self

    @model_validator(mode="after")
    def _can_learn_dropout(self) -> "TrainConfig":
        if self.dropout == "learned" and self.module:
            raise ValueError("dropout learned is of our networks; a module of your own has its own dropout")
        return self

    @model_validator(mode="after")
    def _drops_something(self) -> "TrainConfig":
        if self.dropout == self.input_dropout == 0:
            raise ValueError("dropout and input_dropout are both 0; with nothing to drop there is nothing to sample")
        return self


def load_config(file: Path | None, flags: Mapping[str, Any]) -> TrainConfig:
    """Settings from `flags` over those of the TOML `file` over the defaults.

    Raises ConfigError naming the file or flag, the setting, and what was expected.
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
