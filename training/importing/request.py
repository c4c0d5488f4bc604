"""What a user asks for who has an ONNX file to be published."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from service.rows.dialect import Dialect
from training.errors import ConfigError
from training.flags import Delimiter, Encoding, ModelName, Names, explain, flag, named_as


class ImportRequest(BaseModel):
    """Each field but the file is a flag of the command line."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    file: Path
    """ONNX file of a network with dropout in it."""
    name: ModelName
    """Name to publish the model under, by default the file's: letters, digits, dots, hyphens, underscores."""
    labels: Names = ()
    """Names of the classes, in the order of the outputs, separated by commas."""
    task: Literal["auto", "classification", "regression"] = "auto"
    """classification or regression; auto is by the labels or the data."""
    data: str | None = Field(default=None, min_length=1)
    """Rows with the truth, none of which the network learned from, to calibrate and evaluate with: what train takes,
    or an .npz with an array for each input, by its name, and targets."""
    target: str | None = None
    """Column of a table that holds the truth."""
    ignore: Names = ()
    """Columns that are no inputs of the network, separated by commas; the flag may come again."""
    missing: Literal["refuse", "drop"] = "refuse"
    """Rows with missing values: refuse says where they are, drop leaves them out."""
    delimiter: Delimiter | None = None
    """Mark between the cells of a CSV file, such as ; or tab; unless given, it is found in the file."""
    decimal: Literal[".", ","] | None = None
    """Decimal mark of its numbers, . or a comma; unless given, it is found, or refused where unsure."""
    encoding: Encoding | None = None
    """Its encoding, such as cp1252; unless given, utf-8."""
    noise: Literal["fitted", "learned"] = "fitted"
    """Noise of a regression's target: fitted to the data; learned, its standard deviations are the second
    half of the outputs, behind the means."""
    others: str | None = Field(default=None, min_length=1)
    """Second data set, a file or folder of rows that the network should doubt; the figures tell whether it does."""
    rows: Path | None = None
    """Rows that callers may see, to verify with: .npy, .npz with an array for each input, or a table of numbers
    (.csv, .jsonl, .parquet); by default some of the data, or random ones."""
    description: str = ""
    """A sentence on what the model is for."""
    models: Path = Path("models")
    """Folder of published models; the import adds NAME/VERSION to it."""
    passes: int = Field(default=100, ge=2)
    """Thinned networks a row, when uncertainty is calibrated and evaluated."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Of the split of the data, and of dropout."""

    @property
    def dialect(self) -> Dialect:
        """What is said of files of text."""
        return Dialect(self.delimiter, self.decimal, self.encoding)

    @model_validator(mode="before")
    @classmethod
    def _named_as_the_file(cls, values: dict[str, object]) -> dict[str, object]:
        return {"name": named_as(str(values["file"]))} | values

    @model_validator(mode="after")
    def _task_is_known(self) -> "ImportRequest":
        if self.labels and self.task == "regression":
            raise ValueError("--labels: a regression has none; leave them out, or --task regression")
        if self.data is None and not self.labels and self.task != "regression":
            raise ValueError(
                "what the outputs mean is not in the file: name the classes with --labels A,B, or say --task regression"
            )
        if self.labels and self.noise == "learned":
            raise ValueError("--noise: is that of a regression's target, and --labels name classes; leave one out")
        if self.data is None and self.others is not None:
            raise ValueError("--others: is compared with the rows of --data FILE, which is not given")
        if self.data is None and (self.target or self.ignore):
            raise ValueError("--target and --ignore are for columns of --data FILE, which is not given")
        return self


def make_request(file: Path, flags: Mapping[str, Any]) -> ImportRequest:
    """From the command line; raises ConfigError naming the flag and what was expected."""
    try:
        return ImportRequest.model_validate({"file": file, **flags})
    except ValidationError as error:
        raise ConfigError(explain(error.errors(include_url=False)[0], flag, ImportRequest)) from None
