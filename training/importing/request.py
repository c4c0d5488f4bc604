"""The settings of an import."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from service.rows.dialect import Dialect
from training.errors import ConfigError
from training.flags import Delimiter, Encoding, ModelName, Names, explain, flag, named_as


class ImportRequest(BaseModel):
    """Settings of an import; each field but the file is a flag of the command line."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    file: Path
    """ONNX file of a network with dropout."""
    name: ModelName
    """Name to publish the model under, by default the file's: letters, digits, dots, hyphens, underscores."""
    labels: Names = ()
    """Names of the classes, in the order of the outputs, separated by commas."""
    task: Literal["auto", "classification", "regression"] = "auto"
    """classification or regression; auto is by the labels or the data."""
    data: str | None = Field(default=None, min_length=1)
    """Labelled rows that the network was not trained on, to calibrate and evaluate with: any data that train reads, or
    an .npz with an array for each input, by its name, and targets.
    """
    target: str | None = None
    """Column of a table with the truth."""
    ignore: Names = ()
    """Columns that are not inputs of the network, separated by commas; the flag may be repeated."""
    missing: Literal["refuse", "drop"] = "refuse"
    """Rows with missing values: refuse stops with their places, drop leaves them out."""
    delimiter: Delimiter | None = None
    """Delimiter of a CSV file, such as ; or tab; detected unless given."""
    decimal: Literal[".", ","] | None = None
    """Decimal mark of a CSV file, . or a comma; detected unless given, or refused where ambiguous."""
    encoding: Encoding | None = None
    """Encoding of a CSV file, such as cp1252; utf-8 unless given."""
    noise: Literal["fitted", "learned"] = "fitted"
    """Observation noise of a regression: fitted to the data; or learned, as standard deviations in the second half of
    the outputs, behind the means.
    """
    others: str | None = Field(default=None, min_length=1)
    """OOD data: a file or folder of rows that should get a high uncertainty; the evaluation measures whether
    they do.
    """
    rows: Path | None = None
    """Rows that may be published, to verify with: .npy, .npz with an array for each input, or a table of numbers (.csv,
    .jsonl, .parquet); by default some of the data, or random ones.
    """
    description: str = ""
    """A sentence on the purpose of the model."""
    models: Path = Path("models")
    """Folder of published models; the import adds NAME/VERSION to it."""
    passes: int = Field(default=100, ge=2)
    """Samples a row, when uncertainty is calibrated and evaluated."""
    sample_sites: Names = ()
    """Dropout sites that stay on in samples, separated by commas: names, globs, last:N for the last N, or auto:0.95 for
    the fewest last ones that find errors 0.95 times as well as all; unless given, all.
    """
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Seed of the split of the data, and of dropout."""

    @property
    def dialect(self) -> Dialect:
        """Delimiter, decimal mark and encoding of text files."""
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
                "the file does not state what its outputs are: name the classes with --labels A,B, or use --task"
                " regression"
            )
        if self.labels and self.noise == "learned":
            raise ValueError("--noise: is for regressions, and --labels name classes; leave one out")
        if self.data is None and self.others is not None:
            raise ValueError("--others: is compared with the rows of --data FILE, which is not given")
        if self.data is None and (self.target or self.ignore):
            raise ValueError("--target and --ignore are for columns of --data FILE, which is not given")
        return self


def make_request(file: Path, flags: Mapping[str, Any]) -> ImportRequest:
    """Return the settings of the command line; raise ConfigError naming the flag and the expected value."""
    try:
        return ImportRequest.model_validate({"file": file, **flags})
    except ValidationError as error:
        raise ConfigError(explain(error.errors(include_url=False)[0], flag, ImportRequest)) from None
