"""Models of the API's JSON for OpenAPI and for typed clients.

They only describe: `service.api.requests` reads and `service.api.replies` writes, both faster, and tests compare them.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypeAliasType

from service.api.requests import MAX_JSON_INTEGER
from service.model.manifest import (
    AbstentionThreshold,
    AnyNoise,
    ClassFigures,
    ConformalQuantile,
    DropoutSite,
    Seen,
    SiteComparison,
    TensorSpec,
    TrainingData,
    Work,
)

Share = Annotated[float, Field(gt=0, lt=1)]
"""A fraction strictly between 0 and 1."""

ROW = "A row: its numbers, nested like the model's input; the value of a categorical feature is its name."
Row = TypeAliasType("Row", Annotated[Any, Field(description=ROW)])
"""Any type, as clients generated from a closed union would refuse lists of lists of numbers."""

BY_INPUT = "The rows of each input, by the input's name."
RowsByInput = TypeAliasType("RowsByInput", Annotated[dict[str, list[Row]], Field(description=BY_INPUT)])


def _without_defaults(schema: dict[str, Any]) -> None:
    """Remove defaults from a schema, as client generators treat fields with a default as required."""
    for field in schema["properties"].values():
        field.pop("default", None)


def _absent_not_null(schema: dict[str, Any]) -> None:
    """Describe fields whose default is None as absent rather than null."""
    for field in schema["properties"].values():
        if "default" in field:
            (kind,) = (kind for kind in field.pop("anyOf") if kind != {"type": "null"})
            del field["default"]
            field |= kind


class Described(BaseModel):
    """The base of all models; attribute docstrings become the fields' descriptions."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class Body(Described):
    """The base of the models of requests."""

    model_config = ConfigDict(json_schema_extra=_without_defaults)


class Reply(Described):
    """The base of the models of replies."""

    model_config = ConfigDict(json_schema_extra=_absent_not_null)


class ClassAnswer(Reply):
    """A row's deterministic answer, of the network without dropout."""

    label: str
    """The most probable class."""
    probability: float
    """The calibrated probability of `label`."""
    probabilities: list[float]
    """The calibrated probability of every class, in the order of `labels`."""
    prediction_set: list[str] | None = None
    """The conformal set: it contains the true class with the requested coverage."""


class RegressionAnswer(Reply):
    """A row's deterministic answer, of the network without dropout."""

    values: list[float]
    """The predicted values, in the target's unit."""
    noise_std: list[float] | None = None
    """Standard deviation of the observation noise of each value for this row, if the network has learned it."""
    interval: list[list[float]] | None = None
    """Low and high end for each value; the interval contains the true value with the requested coverage."""


class Spread(Reply):
    """Optional fields about a row's samples."""

    samples: int | None = None
    """Adaptive sampling: the number of samples drawn for this row."""
    stopped: Literal["tolerance", "confidence", "max"] | None = None
    """Adaptive sampling: the rule that ended sampling."""
    quantiles: list[list[float]] | None = None
    """For each requested quantile, that of every class's probability or of every value."""
    sampled: list[list[float]] | None = None
    """`return_samples`: the output of each thinned network, in the order of the samples."""


class ClassSpread(Spread):
    """The samples of a row of a classification, summarised. Entropies are in nats."""

    label: str
    """The class with the highest mean probability."""
    mean_probabilities: list[float]
    """Mean of each class's probability over the samples, in the order of `labels`."""
    standard_deviation: list[float]
    """Standard deviation of each class's probability over the samples (divided by their number)."""
    standard_error: list[float | None]
    """Standard error of each mean, which shrinks with more samples; null for a single sample."""
    predictive_entropy: float
    """H[E p], the total uncertainty: entropy of the mean probabilities."""
    expected_entropy: float
    """E H[p], the aleatoric part: mean entropy of the samples, high where the row is ambiguous."""
    mutual_information: float
    """The difference of the two, the epistemic part: high where the samples disagree, as on unfamiliar rows."""
    variation_ratio: float
    """Fraction of samples whose most probable class is not the most voted one."""
    votes: list[int]
    """Number of samples in which each class is the most probable."""
    decision: Literal["accept", "refer"] | None = None
    """Whether to accept the answer or to refer the row to a person, by the threshold in `decided`."""
    deterministic: ClassAnswer


class RegressionSpread(Spread):
    """The samples of a row of a regression, summarised in the target's unit."""

    mean: list[float]
    """Mean of each value over the samples."""
    epistemic_std: list[float]
    """Standard deviation of each value over the samples: how much they disagree."""
    aleatoric_std: list[float]
    """Standard deviation of the observation noise of each value."""
    total_std: list[float]
    """Square root of the sum of both squared: the total uncertainty."""
    standard_error: list[float | None]
    """Standard error of each mean; null for a single sample."""
    deterministic: RegressionAnswer


class PredictReply(Reply):
    """The answer of `/predict`."""

    model: str
    version: int
    labels: list[str] | None = None
    """The classes, in the order of all lists; absent for a regression."""
    predictions: list[ClassAnswer | RegressionAnswer]
    """One answer per row, in the order sent."""


class UncertaintyReply(Reply):
    """The answer of `/uncertainty`."""

    model: str
    version: int
    samples: int
    """The number of samples drawn; with adaptive sampling, for the row that needed most."""
    seed: int
    """The seed of the samples; the same seed gives the same answer."""
    labels: list[str] | None = None
    """The classes, in the order of all lists; absent for a regression."""
    quantiles: list[float] | None = None
    """The requested quantiles, in the order of each row's."""
    decided: AbstentionThreshold | None = None
    """The threshold of the decisions, with the error rate to expect among accepted answers."""
    predictions: list[ClassSpread | RegressionSpread]
    """One answer per row, in the order sent."""


class ErrorBody(Reply):
    """An error, for people and for programs."""

    code: str
    """The kind of error; codes are stable."""
    message: str
    """The error in words, with the field and what was expected."""
    details: dict[str, Any] = Field(examples=[{"field": "inputs[0]", "row": 0, "expected": 64, "found": 63}])
    """The same facts as values."""


class ErrorReply(Reply):
    """The answer to every request that fails."""

    error: ErrorBody


class PredictBody(Body):
    """Rows to predict."""

    inputs: list[Row] | RowsByInput
    """A list of rows; for a model with several inputs, an object with a list of rows for each, by name. The value of a
    categorical feature is the name of one of the model's `categories`."""
    coverage: Share | None = None
    """Adds the conformal set or interval with this coverage, which must be one of the model's."""


class AdaptiveBody(Body):
    """Adaptive sampling: samples are added to each row until one of the rules holds, which is checked regularly."""

    max: int = Field(ge=1)
    """The largest number of samples."""
    tolerance: float | None = Field(default=None, gt=0)
    """Stop when the standard error of every class's mean probability, or of every value's mean, is at most this."""
    confidence: Share | None = None
    """Stop when the leading class is certain with this confidence, by a sequential test valid for repeated checks."""


class AblateBody(Body):
    """Units of a dropout site set to zero in every sample: by number, or a fraction chosen by the seed."""

    site: int | str
    """The site's number or name."""
    units: list[Annotated[int, Field(ge=0)]] | None = None
    """Numbers of the units."""
    fraction: Share | None = None
    """Fraction of the site's units, in place of `units`."""


class UncertaintyBody(PredictBody):
    """Rows to predict with uncertainty, and how to draw the samples."""

    samples: Annotated[int, Field(ge=1)] | AdaptiveBody | None = None
    """Number of samples, or adaptive sampling; the service's default when absent."""
    seed: Annotated[int, Field(ge=0, le=MAX_JSON_INTEGER)] | Literal["random"] | None = None
    """Seed of the samples: the same seed gives the same answer. The service's fixed default when absent."""
    dropout_rate: float | None = Field(default=None, ge=0, lt=1)
    """Dropout probability of every site, in place of the model's own."""
    ablate: list[AblateBody] = []
    """Units to set to zero; none when absent."""
    quantiles: list[Annotated[float, Field(ge=0, le=1)]] = []
    """Adds these quantiles of the samples; none when absent."""
    return_samples: bool = False
    """Adds the output of each thinned network; false when absent."""
    error_rate: Share | None = None
    """Error rate of the abstention threshold to decide by; when absent, the highest one that refers any row."""


class Alive(Reply):
    """The process is running."""

    status: Literal["alive"]


class Ready(Reply):
    """Models are loaded and verified."""

    status: Literal["ready"]
    default_model: str
    models: dict[str, list[int]]
    """The versions that are ready, by model."""
    failures: dict[str, str]
    """The reason for each model or version that could not be loaded."""


class VersionState(Reply):
    """A version of a model."""

    version: int
    state: Literal["ready", "loading", "unavailable"]
    reason: str
    """Why the version is unavailable, or why its newer files could not be loaded; else empty."""


class ModelState(Reply):
    """A model and its versions."""

    model: str
    default_version: int | None
    """The version used when none is named: the pinned one, else the highest; null when none is ready."""
    versions: list[VersionState]


class ModelList(Reply):
    """All models."""

    default_model: str | None
    """The model of `/predict` and `/uncertainty`."""
    models: list[ModelState]


class ModelDetail(ModelState):
    """A version's description, from its manifest."""

    version: int
    """The version described by the following fields."""
    task: Literal["classification", "regression"]
    description: str
    created: str
    """ISO 8601, UTC."""
    inputs: list[TensorSpec]
    output: TensorSpec
    features: list[str]
    """Names of the values of a row; may be empty."""
    categories: dict[str, list[str]]
    """Names of the possible values of each categorical feature."""
    labels: list[str]
    """The classes, in the order of all lists; empty for a regression."""
    seen: list[Seen]
    """Ranges in the training rows: one entry per value of a row, or one for all values; empty when unknown."""
    sites: list[DropoutSite]
    """The dropout sites, with their probabilities."""
    bypassed_sites: list[str]
    """Names of the network's other dropout sites, which are off in samples."""
    site_comparison: SiteComparison | None
    """What samples lose and save by that; null when nothing is bypassed or measured."""
    temperature: float
    """Divisor of the logits before the softmax."""
    sampled_temperature: float | None
    """The same for samples, so that their mean is calibrated; null: `temperature`."""
    work: Work | None
    """Cost of a row in one pass, beside the prediction; null when unknown."""
    predict_work: Work | None
    """Cost of a row's prediction; null when unknown."""
    noise: AnyNoise | None
    """Observation noise of a regression; null when there is none."""
    conformal: list[ConformalQuantile]
    """Conformal quantiles, by coverage."""
    abstention: list[AbstentionThreshold]
    """Abstention thresholds, by error rate."""
    evaluation: dict[str, dict[str, float]]
    """Test metrics of the deterministic answer (`deterministic`) and of the mean of samples (`mc`)."""
    class_figures: list[ClassFigures]
    """Test metrics of each class, in the order of the labels; may be empty."""
    class_weights: list[float]
    """Weight of each class in the loss, in the order of the labels; empty: all 1."""
    warnings: list[str]
    """Findings of calibration and evaluation that callers should know."""
    training_data: TrainingData | None
    git_commit: str | None
    files: dict[str, str]
    """SHA-256 of each file of the version."""


class ModelFiles(Reply):
    """Documents of a version, below `/models/{name}/versions/{version}/`."""

    model: str
    version: int
    card: bool
    """Whether the version has the model card `card`."""
    behaviour: bool
    """Whether the version has the report `behaviour`."""
    plots: list[str]
    """Names of the files below `plots/`."""


class Examples(Reply):
    """Example rows for a version of a model."""

    model: str
    version: int
    inputs: list[Row] | RowsByInput
    """A few real rows from the model's golden answers, in the form that `/predict` and `/uncertainty` accept."""


class LabelBody(Body):
    """The true label of a row, judged by a person."""

    label: str | float | list[float]
    """The name of one of the model's classes; for a regression a number, or a list for several outputs."""
    by: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    """The person that gives the label."""


class LabelEntry(Reply):
    """An entry in the history of a row's labels."""

    label: str | list[float]
    by: str | None
    """The person named in the request."""
    key: str | None
    """The name of the API key used."""
    time: float
    """Seconds since 1970, UTC."""


class ReviewRow(Reply):
    """A row of the prediction log."""

    id: str
    """The row's identifier, to which a label is posted."""
    time: float
    """Time of the answer, in seconds since 1970, UTC."""
    request_id: str
    route: str
    """The route of the request, as in the metrics."""
    model: str
    version: int
    row: int
    """The row's number in its request, from 0."""
    inputs: Row | None
    """The row in the form of a request, for several inputs an object of them; null if inputs are not logged."""
    answer: ClassSpread | RegressionSpread | ClassAnswer | RegressionAnswer
    """The answer, without optional fields."""
    samples: int
    """The number of samples; 0 for the deterministic answer."""
    seed: int | None
    predictive_entropy: float | None
    mutual_information: float | None
    decision: Literal["accept", "refer"] | None
    label: str | list[float] | None
    """The latest label; null when there is none."""
    history: list[LabelEntry]
    """All labels of the row, oldest first."""


class ReviewPage(Reply):
    """A page of rows of the prediction log."""

    rows: list[ReviewRow]
    next: str | None
    """The value of `after` for the next page; null on the last one."""
