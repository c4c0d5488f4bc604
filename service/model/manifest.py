"""The contract of a published model: the fields of `manifest.json`, and the check of the files beside it.

A published model is a folder `<name>/<version>/` with

    manifest.json   this contract
    predict.onnx    the network without dropout: inputs (rows, …) → output (rows, outputs), and what no mask reaches:
                    body_<j> (rows, …)
    sample.onnx     the rest of the network with its dropout masks as inputs: body_<j> or inputs (rows, …) and, for
                    each site i, mask_<i> (passes, 1, …) → output (passes, rows, outputs)
    weights.bin     the large weights of both graphs, each once (ONNX external data); absent if all are small
    golden.npz      inputs, a seed and the answers to them, replayed when the model is loaded

The output of a regression with learned noise has the answers first and then the standard deviation of each.
"""

import hashlib
import math
import os
import re
import stat
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator

from service.errors import InvalidModel
from service.model.categories import Categories

MANIFEST = "manifest.json"
PREDICT_GRAPH = "predict.onnx"
SAMPLE_GRAPH = "sample.onnx"
WEIGHTS = "weights.bin"
GOLDEN = "golden.npz"
REQUIRED_FILES = (PREDICT_GRAPH, SAMPLE_GRAPH, GOLDEN)

MAX_MANIFEST_BYTES = 2**20
MAX_MODEL_BYTES = 2**30
"""The default limit of the total size of a model's files."""

SCHEMA: Literal[2] = 2
"""The schema of manifests written; older ones are read through `upgraded`."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""The pattern of a model's name, safe in a path and in a URL."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
DType = Literal["float32", "float64", "int32", "int64"]
Share = Annotated[float, Field(ge=0, le=1)]
INT64 = np.iinfo(np.int64)
Int64 = Annotated[int, Field(ge=INT64.min, le=INT64.max)]
CategoryNames = Annotated[tuple[str, ...], Field(min_length=2, max_length=1000)]


class Part(BaseModel):
    """The base of the manifest's models: immutable, and strict about unknown fields."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, json_schema_serialization_defaults_required=True
    )


class WholeNumbers(Part):
    """The range of whole numbers accepted for one value of a row, such as token numbers."""

    lowest: Int64 | None = Field(default=None, description="null: the lowest number of the type")
    highest: Int64 | None = Field(default=None, description="null: the highest number of the type")

    @model_validator(mode="after")
    def _ordered(self) -> "WholeNumbers":
        if self.lowest is not None and self.highest is not None and self.lowest > self.highest:
            raise ValueError(f"lowest must be at most highest; {self.lowest} is more than {self.highest}")
        return self


class ImageRule(Part):
    """The conversion of an image to a row: turn it upright by its EXIF orientation, then mode, then size.

    Values are from 0 to 255. The size is that of the input's shape, (channels, height, width).
    """

    mode: Literal["L", "RGB"] = Field(description="L: one channel, grey; RGB: three")
    resize: Literal["crop", "pad", "stretch"] = Field(
        description="crop: cover the size and crop the centre; pad: fit in, on the background; stretch: to the size"
    )
    resample: Literal["bilinear"] = Field(default="bilinear", description="antialiased, as in Pillow")
    background: str = Field(pattern="^#[0-9a-f]{6}$", description="colour behind transparent pixels and of padding")

    @property
    def channels(self) -> int:
        """The number of values of a pixel."""
        return len(self.mode)


class TensorSpec(Part):
    """An input or the output of the network; the rows axis comes first and is not part of `shape`."""

    name: str
    dtype: DType
    shape: tuple[Annotated[int, Field(ge=1)], ...] = Field(description="of one row")
    ranges: tuple[WholeNumbers, ...] = Field(
        default=(),
        description="accepted whole numbers: one entry per value of a row, or one for all values; floating point"
        " numbers are truncated before the check; empty: all numbers of the type",
    )
    image: ImageRule | None = Field(default=None, description="conversion of images to rows; null: not supported")

    @model_validator(mode="after")
    def _ranges_fit(self) -> "TensorSpec":
        size = math.prod(self.shape)
        if len(self.ranges) not in (0, 1, size):
            raise ValueError(f"ranges must have one entry or {size}, not {len(self.ranges)}")
        return self

    imputation: tuple[float, ...] = Field(
        default=(),
        description="replacements of missing values (null, NaN), one per value of a row, for a category its number;"
        " empty: no value may be missing",
    )

    @model_validator(mode="after")
    def _imputation_fits(self) -> "TensorSpec":
        if self.imputation and (len(self.imputation) != math.prod(self.shape) or not self.dtype.startswith("float")):
            raise ValueError(f"imputation must have one entry per value of a float row, not {len(self.imputation)}")
        return self

    @model_validator(mode="after")
    def _image_fits(self) -> "TensorSpec":
        if self.image and (len(self.shape) != 3 or self.shape[0] != self.image.channels):
            raise ValueError(f"image of mode {self.image.mode} needs a shape ({self.image.channels}, height, width)")
        return self

    @cached_property
    def json_rows(self) -> Any:
        """The type of a list of rows in JSON: lists nested like the shape."""
        kind: Any = float if self.dtype.startswith("float") else int
        if self.imputation:
            kind = float | None
        for _ in range(len(self.shape) + 1):
            kind = list[kind]
        return kind

    @cached_property
    def limits(self) -> tuple[NDArray[Any], NDArray[Any]] | None:
        """The lowest and highest whole numbers, shaped to broadcast against rows; None: any numbers."""
        if not self.ranges:
            return None
        shape = self.shape if len(self.ranges) > 1 else (1,) * len(self.shape)
        least, most = (-np.inf, np.inf) if self.dtype.startswith("float") else (INT64.min, INT64.max)
        lowest = [least if one.lowest is None else one.lowest for one in self.ranges]
        highest = [most if one.highest is None else one.highest for one in self.ranges]
        return np.array(lowest).reshape(shape), np.array(highest).reshape(shape)


class DropoutSite(Part):
    """A place where the network drops units; the graph input `mask_<i>` feeds site number i."""

    name: str
    kind: Literal["dropout", "feature", "alpha"] = Field(
        description="dropout: single units; feature: whole channels; alpha: alpha dropout of SELU networks"
    )
    p: float = Field(ge=0, lt=1, description="probability that a unit is dropped")
    shape: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        description="shape of the mask of one pass, shared by all rows; the graph input is (passes, 1, *shape)"
    )


class ConformalQuantile(Part):
    """Split-conformal threshold (Vovk 2005; for classes the LAC score of Sadinle et al. 2019).

    A class belongs to the prediction set if 1 - probability <= quantile. A regression interval is answer ± quantile,
    or with learned noise answer ± quantile · the row's noise (Lei et al. 2018, section 5.2).
    """

    coverage: float = Field(gt=0, lt=1, description="fraction of such sets that contain the truth")
    quantile: float = Field(ge=0)
    expected: Annotated[tuple[Share, ...], Field(min_length=2, max_length=2)] | None = Field(
        default=None,
        description="lowest and highest coverage expected of the test rows with 99 % probability, if they are"
        " exchangeable with the calibration rows",
    )


class AbstentionThreshold(Part):
    """Accept an answer if its predictive entropy is at most `threshold`; otherwise refer it to a person."""

    error_rate: float = Field(
        gt=0, lt=1, description="90 % upper bound, on calibration rows, of the error rate of accepted answers"
    )
    threshold: float = Field(ge=0, description="nats")
    coverage: float = Field(ge=0, le=1, description="fraction of calibration rows accepted at this threshold")


class ClassFigures(Part):
    """The number of test rows of one class, and the fraction of them classified correctly."""

    rows: int = Field(ge=0, description="test rows of the class")
    recall: dict[str, Share] = Field(
        description="fraction of these rows predicted as the class, by kind of answer; empty without rows"
    )


class TrainingData(Part):
    """The training data, by name and digest."""

    name: str
    sha256: Sha256
    rows: int = Field(ge=1)


class Seen(Part):
    """The range of one value in the training rows, for a category that of its numbers."""

    lowest: float
    median: float
    highest: float


class Noise(Part):
    """A regression's observation noise; its standard deviation is the aleatoric part of the uncertainty."""

    std: float = Field(gt=0, description="in the target's unit")


class LearnedNoise(Part):
    """A regression's observation noise predicted for each row by the network (Kendall & Gal 2017).

    The second half of the graphs' outputs are its standard deviations, in the target's unit and above 0.
    """

    learned: Literal[True]
    scale: float = Field(default=1.0, gt=0, description="factor of the deviations that the graphs return")


def _kind_of_noise(noise: object) -> str:
    learned = "learned" in noise if isinstance(noise, dict) else isinstance(noise, LearnedNoise)
    return (LearnedNoise if learned else Noise).__name__


AnyNoise = Annotated[
    Annotated[Noise, Tag(Noise.__name__)] | Annotated[LearnedNoise, Tag(LearnedNoise.__name__)],
    Discriminator(_kind_of_noise),
]


class Work(Part):
    """The computation of a graph for one row, from which a service sizes its runs."""

    multiply_adds: int = Field(ge=1)
    bytes: int = Field(ge=1, description="size of all intermediate results")


class SiteFigures(Part):
    """Figures of samples that drop at some sites; null where one is not defined for the rows."""

    rank_correlation: float | None = Field(
        ge=-1,
        le=1,
        description="Spearman's, of the rows' mutual information, or a regression's standard deviations, with that of"
        " all sites; for all sites themselves, with that of another seed, which is the most to expect",
    )
    detection: float | None = Field(
        ge=-1,
        le=1,
        description="AUROC of wrong deterministic answers by that uncertainty; for a regression its rank correlation"
        " with the absolute error",
    )
    seconds: float = Field(gt=0, description="time of a row with 100 samples where the model was published")


class SiteComparison(Part):
    """What samples lose and save by dropping at some of the network's sites only."""

    part: Literal["validation", "calibration", "test"] = Field(description="part of the data that was compared on")
    rows: int = Field(ge=1)
    all_sites: SiteFigures
    sampled_sites: SiteFigures


class Manifest(Part):
    """The description of a model for serving. Temperature divides the logits before the softmax."""

    schema_version: Literal[2] = SCHEMA
    name: str = Field(pattern=rf"^{NAME.pattern}$")
    version: int = Field(ge=1)
    task: Literal["classification", "regression"]
    description: str = ""
    created: str = Field(default="", description="ISO 8601, UTC")
    inputs: tuple[TensorSpec, ...] = Field(min_length=1)
    output: TensorSpec
    features: tuple[str, ...] = Field(default=(), description="names of the values of a row; may be empty")
    categories: dict[str, CategoryNames] = Field(
        default_factory=dict,
        description="names of the values of each categorical feature; the network's numbers are their positions",
    )
    labels: tuple[str, ...] = Field(default=(), description="names of the classes, in the order of the output")
    seen: tuple[Seen, ...] = Field(
        default=(), description="ranges in the training rows: one entry per value, or one for all; may be empty"
    )
    sites: tuple[DropoutSite, ...] = Field(min_length=1)
    bypassed_sites: tuple[str, ...] = Field(
        default=(), description="names of the network's other dropout sites, which are off in samples as well"
    )
    site_comparison: SiteComparison | None = Field(
        default=None, description="null: all sites are sampled, or there were no rows to compare on"
    )
    temperature: float = Field(default=1.0, gt=0)
    sampled_temperature: float | None = Field(
        default=None, gt=0, description="temperature of each thinned network; null: `temperature`"
    )
    work: Work | None = Field(
        default=None, description="that of sample.onnx for one row in one pass; null: estimated from the graph's size"
    )
    predict_work: Work | None = Field(default=None, description="that of predict.onnx; null: as `work`")
    noise: AnyNoise | None = None
    conformal: tuple[ConformalQuantile, ...] = ()
    abstention: tuple[AbstentionThreshold, ...] = ()
    evaluation: dict[str, dict[str, float]] = Field(
        default_factory=dict,
        description="test metrics by kind of answer: baseline (one answer for all rows), deterministic, mc",
    )
    class_figures: tuple[ClassFigures, ...] = Field(
        default=(), description="test metrics of each class, in the order of the labels; may be empty"
    )
    class_weights: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        default=(),
        description="weight of each class in the loss, in the order of the labels: the probabilities are calibrated"
        " for class frequencies of the training rows times these weights; empty: all 1",
    )
    warnings: tuple[str, ...] = Field(
        default=(), description="findings of calibration and evaluation that callers should know, in sentences"
    )
    training_data: TrainingData | None = None
    training: dict[str, Any] = Field(default_factory=dict, description="the settings of the training run")
    libraries: dict[str, str] = Field(default_factory=dict, description="versions of the libraries that made the model")
    git_commit: str | None = None
    files: dict[FileName, Sha256]

    @model_validator(mode="before")
    @classmethod
    def _upgraded(cls, fields: object) -> object:
        return upgraded(fields) if isinstance(fields, dict) else fields

    @model_validator(mode="after")
    def _consistent(self) -> "Manifest":
        if missing := [name for name in REQUIRED_FILES if name not in self.files]:
            raise ValueError(f"files lists no digest for {', '.join(missing)}")
        if len(self.output.shape) != 1:
            raise ValueError(f"output.shape must be one number, not {list(self.output.shape)}")
        if self.task == "classification":
            if len(self.labels) != self.output.shape[0]:
                raise ValueError(f"labels names {len(self.labels)} classes, but the output has {self.output.shape[0]}")
            if self.output.shape[0] < 2 or len(set(self.labels)) != len(self.labels):
                raise ValueError("labels must be two or more different names")
        elif isinstance(self.noise, LearnedNoise) and self.output.shape[0] % 2:
            raise ValueError(f"output.shape must be even for learned noise, not {self.output.shape[0]}")
        return self

    @model_validator(mode="after")
    def _classes_fit(self) -> "Manifest":
        for field, entries in (("class_figures", self.class_figures), ("class_weights", self.class_weights)):
            if entries and len(entries) != len(self.labels):
                raise ValueError(f"{field} must have one entry per label or none, not {len(entries)}")
        return self

    @model_validator(mode="after")
    def _categories_fit(self) -> "Manifest":
        spec = self.inputs[0]
        rows_of_features = len(self.inputs) == 1 and spec.shape == (len(self.features),)
        if self.categories and not (rows_of_features and spec.dtype.startswith("float")):
            raise ValueError("categories require exactly one input, of shape (features,) and a float dtype")
        for feature, names in self.categories.items():
            if self.features.count(feature) != 1:
                raise ValueError(f"categories.{feature}: must be in features exactly once")
            if len(set(names)) < len(names):
                raise ValueError(f"categories.{feature}: must be different names")
        return self

    @model_validator(mode="after")
    def _features_fit(self) -> "Manifest":
        size = math.prod(self.inputs[0].shape)
        if self.features and len(self.inputs) == 1 and len(self.features) != size:
            raise ValueError(f"features names {len(self.features)} values, but a row has {size}")
        return self

    @model_validator(mode="after")
    def _seen_fits(self) -> "Manifest":
        size = math.prod(self.inputs[0].shape)
        if self.seen and (len(self.inputs) > 1 or len(self.seen) not in (1, size)):
            raise ValueError(f"seen requires one input, and one entry or {size}, not {len(self.seen)}")
        return self

    @property
    def answers(self) -> int:
        """The number of values that answer a row: the graphs' outputs without learned noise."""
        return self.output.shape[0] // 2 if self.noise_is_learned else self.output.shape[0]

    @property
    def noise_is_learned(self) -> bool:
        """Whether the graphs return the noise of each row."""
        return self.task == "regression" and isinstance(self.noise, LearnedNoise)

    @cached_property
    def categorical(self) -> Categories | None:
        """The conversion of category names to numbers, or None without categories."""
        if not self.categories:
            return None
        return Categories(self.features, self.categories, may_be_missing=bool(self.inputs[0].imputation))


def upgraded(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a manifest's fields in the current schema, those of an unknown schema unchanged.

    Schema 2 added only optional fields to schema 1.
    """
    return {**fields, "schema_version": SCHEMA} if fields.get("schema_version") == 1 else fields


def read_manifest(folder: Path) -> Manifest:
    """Read and validate the manifest of a model folder. Raises InvalidModel that names the invalid field."""
    path = folder / MANIFEST
    try:
        text = read_plain(path, MAX_MANIFEST_BYTES).decode("utf-8")
    except FileNotFoundError:
        raise InvalidModel(f"{path}: no such file; a published model has one", file=MANIFEST) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidModel(f"{path}: cannot be read: {error}", file=MANIFEST) from None
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        kinds = (Noise.__name__, LearnedNoise.__name__)  # pydantic lists the union's tags as if they were fields
        field = ".".join(str(part) for part in first["loc"] if part not in kinds) or "manifest"
        raise InvalidModel(f"{path}: {field}: {first['msg']}", file=MANIFEST, field=field) from None
    _check_place(manifest, folder)
    return manifest


def _check_place(manifest: Manifest, folder: Path) -> None:
    """Raise InvalidModel unless the folder is `<name>/<version>` of the manifest, so that no copy passes for another.

    For a link its own name counts, not its target's.
    """
    place = Path(os.path.abspath(folder))  # noqa: PTH100 - `..` must go, links must stay
    found = (place.parent.name, place.name)
    if found != (manifest.name, str(manifest.version)):
        raise InvalidModel(
            f"{folder}: the manifest is of {manifest.name}/{manifest.version}, the folder is {'/'.join(found)}",
            file=MANIFEST,
        )


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Write `manifest.json`, the last step of publishing: a folder without one is incomplete."""
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")


def sha256(content: bytes) -> str:
    """Return the SHA-256 of bytes in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def read_plain(path: Path, max_bytes: int) -> bytes:
    """Return the content of a regular file. Raises InvalidModel for another kind or a larger file, else OSError."""
    with open_plain(path, max_bytes) as file:
        return file.read(min(max_bytes, os.fstat(file.fileno()).st_size))


def open_plain(path: Path, max_bytes: int) -> BinaryIO:
    """Open a regular file. Raises InvalidModel for another kind or a larger file, else OSError.

    Links are followed, as mounted volumes (Kubernetes' `..data`, git-sync) consist of them, and write access to the
    folder of models decides what is served in any case. File names never come from a request.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise InvalidModel(f"{path}: cannot be read: it is not a regular file", file=path.name)
    if status.st_size > max_bytes:
        raise InvalidModel(f"{path}: has {status.st_size} bytes; at most {max_bytes} are read", file=path.name)
    return path.open("rb")


def read_file(manifest: Manifest, folder: Path, name: str, max_bytes: int = MAX_MODEL_BYTES) -> bytes:
    """Return the verified bytes of one of a model's files. Raises InvalidModel if they differ from the digest.

    Callers use these bytes rather than the file, which may change after the check.
    """
    try:
        content = read_plain(folder / name, max_bytes)
    except OSError as error:
        raise InvalidModel(f"{folder / name}: cannot be read: {error.strerror}", file=name) from None
    if (digest := sha256(content)) != manifest.files[name]:
        raise InvalidModel(
            f"{folder / name}: is damaged: its SHA-256 is {digest}, the manifest says {manifest.files[name]}",
            file=name,
        )
    return content
