"""What the JSON of the API means: models for OpenAPI, and for clients that want types.

They describe; `service.api.requests` reads and `service.api.replies` writes, faster. Tests hold them together.
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
    TensorSpec,
    TrainingData,
    Work,
)

COMPONENT = "#/components/schemas/{model}"
"""Where OpenAPI keeps a schema."""

Share = Annotated[float, Field(gt=0, lt=1)]
"""Of 1, strictly between nothing and all."""

ROW = "A row: its numbers, nested as deep as the model's input is; in the place of a category its name."
Row = TypeAliasType("Row", Annotated[Any, Field(description=ROW)])
"""Of any type: clients are generated from this, and a closed union would refuse their lists of lists of numbers."""

BY_INPUT = "For each of several inputs its rows, by name."
RowsByInput = TypeAliasType("RowsByInput", Annotated[dict[str, list[Row]], Field(description=BY_INPUT)])


def _without_defaults(schema: dict[str, Any]) -> None:
    """What a field's default is, its text says; generators of clients take a field that has one to be required."""
    for field in schema["properties"].values():
        field.pop("default", None)


def _absent_not_null(schema: dict[str, Any]) -> None:
    """A field whose default is None may be absent from a reply, and is never null."""
    for field in schema["properties"].values():
        if "default" in field:
            (kind,) = (kind for kind in field.pop("anyOf") if kind != {"type": "null"})
            del field["default"]
            field |= kind


class Described(BaseModel):
    """A part of a request or of a reply."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class Body(Described):
    """A part of a request."""

    model_config = ConfigDict(json_schema_extra=_without_defaults)


class Reply(Described):
    """A part of a reply."""

    model_config = ConfigDict(json_schema_extra=_absent_not_null)


class ClassAnswer(Reply):
    """A row's deterministic answer, dropout gone."""

    label: str
    """The most probable class."""
    probability: float
    """Its calibrated probability."""
    probabilities: list[float]
    """Of every class, in the order of `labels`."""
    prediction_set: list[str] | None = None
    """The classes that cannot be ruled out; contains the truth as often as the coverage asked for."""


class RegressionAnswer(Reply):
    """A row's deterministic answer, dropout gone."""

    values: list[float]
    """In the target's own unit."""
    noise_std: list[float] | None = None
    """Where the network has learned the noise of the target: its standard deviation for this row, of each value."""
    interval: list[list[float]] | None = None
    """Low and high end for each value; contains the truth as often as the coverage asked for."""


class Spread(Reply):
    """What is told of a row's samples when the request asks for it."""

    samples: int | None = None
    """Adaptive sampling: how many networks were asked about this row."""
    stopped: Literal["tolerance", "confidence", "max"] | None = None
    """Adaptive sampling: why no more were asked."""
    quantiles: list[list[float]] | None = None
    """For each quantile asked for, that of every class's probability or of every value."""
    sampled: list[list[float]] | None = None
    """`return_samples`: what each network answered, in the order of the samples."""


class ClassSpread(Spread):
    """What the thinned networks say of a row. Entropies are in nats."""

    label: str
    """The class that is most probable on average."""
    mean_probabilities: list[float]
    """The consensus: mean over the samples, in the order of `labels`."""
    standard_deviation: list[float]
    """Of each class's probability over the samples (divided by their number)."""
    standard_error: list[float | None]
    """Of each mean: how far it may still move with more samples; null when there is one sample."""
    predictive_entropy: float
    """H[E p], the total uncertainty."""
    expected_entropy: float
    """E H[p], what each network is unsure of by itself (aleatoric): high where the row is ambiguous."""
    mutual_information: float
    """The rest, what they disagree on (epistemic): high where the model does not know this kind of row."""
    variation_ratio: float
    """Share of samples that voted against the most voted class."""
    votes: list[int]
    """How many samples put each class first."""
    decision: Literal["accept", "refer"] | None = None
    """Accept the answer, or refer the row to a person: by the threshold in `decided`."""
    deterministic: ClassAnswer


class RegressionSpread(Spread):
    """What the thinned networks say of a row, in the target's own unit."""

    mean: list[float]
    """The consensus: mean over the samples."""
    epistemic_std: list[float]
    """What they disagree on: standard deviation over the samples."""
    aleatoric_std: list[float]
    """The noise that the model expects of the target itself."""
    total_std: list[float]
    """Both together."""
    standard_error: list[float | None]
    """Of the mean; null when there is one sample."""
    deterministic: RegressionAnswer


class PredictReply(Reply):
    """The answer of `/predict`."""

    model: str
    version: int
    labels: list[str] | None = None
    """The classes, in the order of all lists; a regression has none."""
    predictions: list[ClassAnswer | RegressionAnswer]
    """One a row, in the order sent."""


class UncertaintyReply(Reply):
    """The answer of `/uncertainty`."""

    model: str
    version: int
    samples: int
    """How many thinned networks were asked; with adaptive sampling, about the row that needed most."""
    seed: int
    """Send it again to ask the same ones."""
    labels: list[str] | None = None
    """The classes, in the order of all lists; a regression has none."""
    quantiles: list[float] | None = None
    """Those asked for, in the order of each row's."""
    decided: AbstentionThreshold | None = None
    """The threshold that decisions go by, and the error rate to expect of what is accepted."""
    predictions: list[ClassSpread | RegressionSpread]
    """One a row, in the order sent."""


class ErrorBody(Reply):
    """What went wrong."""

    code: str
    """Stable, for programs."""
    message: str
    """For people: names the field and what was expected."""
    details: dict[str, Any] = Field(examples=[{"field": "inputs[0]", "row": 0, "expected": 64, "found": 63}])
    """The same for programs."""


class ErrorReply(Reply):
    """The answer to every request that is refused."""

    error: ErrorBody


class PredictBody(Body):
    """Rows to answer."""

    inputs: list[Row] | RowsByInput
    """A list of rows; for a model of several inputs, an object with such a list for each, by name. A value of a
    categorical feature is the name of one of the model's `categories`."""
    coverage: Share | None = None
    """Adds the conformal set or interval of this coverage, one of the model's."""


class AdaptiveBody(Body):
    """As many samples as each row needs: until one of the rules holds, which is looked at now and then."""

    max: int = Field(ge=1)
    """The most samples."""
    tolerance: float | None = Field(default=None, gt=0)
    """Largest standard error of a mean: of every class's probability, or of a regression's values."""
    confidence: Share | None = None
    """That the leading class leads in truth, by a sequential test that holds at however many looks."""


class AblateBody(Body):
    """Units of a dropout site that are zero throughout: by number, or a fraction that the seed chooses."""

    site: int | str
    """Its number or its name."""
    units: list[Annotated[int, Field(ge=0)]] | None = None
    fraction: Share | None = None


class UncertaintyBody(PredictBody):
    """Rows to answer, by how many thinned networks, and by which."""

    samples: Annotated[int, Field(ge=1)] | AdaptiveBody | None = None
    """How many thinned networks to ask; the service's default when absent."""
    seed: Annotated[int, Field(ge=0, le=MAX_JSON_INTEGER)] | Literal["random"] | None = None
    """Which ones: the same seed, the same networks, the same answer. The service's fixed default when absent."""
    dropout_rate: float | None = Field(default=None, ge=0, lt=1)
    """What if p were this, at every site?"""
    ablate: list[AblateBody] = []
    """What if these units were not there? None when absent."""
    quantiles: list[Annotated[float, Field(ge=0, le=1)]] = []
    """Adds these quantiles of the samples; none when absent."""
    return_samples: bool = False
    """Adds what each network answered; false when absent."""
    error_rate: Share | None = None
    """Which abstention threshold decides; when absent, that of the highest error rate that refers any row."""


class Alive(Reply):
    """The process runs."""

    status: Literal["alive"]


class Ready(Reply):
    """Models are loaded and verified."""

    status: Literal["ready"]
    default_model: str
    models: dict[str, list[int]]
    """The versions that serve, by model."""
    failures: dict[str, str]
    """What was refused, and why."""


class VersionState(Reply):
    """A version of a model."""

    version: int
    state: Literal["ready", "loading", "unavailable"]
    reason: str
    """Why it is unavailable; of a ready one, why its newer files are not served. Else empty."""


class ModelState(Reply):
    """A model and its versions."""

    model: str
    default_version: int | None
    """The one that answers when none is named: pinned, else the highest; null when none does."""
    versions: list[VersionState]


class ModelList(Reply):
    """All models."""

    default_model: str | None
    """The one that `/predict` and `/uncertainty` ask."""
    models: list[ModelState]


class ModelDetail(ModelState):
    """What a version says of itself, from its manifest."""

    version: int
    """The version that the rest tells of."""
    task: Literal["classification", "regression"]
    description: str
    created: str
    """ISO 8601, UTC."""
    inputs: list[TensorSpec]
    output: TensorSpec
    features: list[str]
    """Names of the values of a row, when they have any."""
    categories: dict[str, list[str]]
    """By categorical feature: the names of its values, one of which a row has in its place."""
    labels: list[str]
    """The classes, in the order of all lists; a regression has none."""
    seen: list[Seen]
    """What the training rows held: one entry a value of a row, or one for all of them; empty: not known."""
    sites: list[DropoutSite]
    """Where units are dropped, and with which probability."""
    temperature: float
    """Divides the logits before the softmax."""
    sampled_temperature: float | None
    """The same for the thinned networks, so that their mean is calibrated; null: `temperature`."""
    work: Work | None
    """What a row costs in one pass; null when it is not known."""
    noise: AnyNoise | None
    conformal: list[ConformalQuantile]
    abstention: list[AbstentionThreshold]
    evaluation: dict[str, dict[str, float]]
    """Test figures by kind of answer: deterministic, mc."""
    class_figures: list[ClassFigures]
    """Test figures of each class, in the order of the labels; may be empty."""
    class_weights: list[float]
    """Weight of each class in the loss, in the order of the labels; empty: all 1."""
    warnings: list[str]
    """What calibration and evaluation found that callers should know."""
    training_data: TrainingData | None
    git_commit: str | None
    files: dict[str, str]
    """SHA-256 of each, to prove which files answer."""


class ModelFiles(Reply):
    """What there is for people to read of a version, below `/models/{name}/versions/{version}/`."""

    model: str
    version: int
    card: bool
    """Whether `card` is there."""
    behaviour: bool
    """Whether `behaviour` is there."""
    plots: list[str]
    """The files below `plots/`."""


class Examples(Reply):
    """Rows that a version of a model may be asked."""

    model: str
    version: int
    inputs: list[Row] | RowsByInput
    """A few real rows, as `/predict` and `/uncertainty` take them: from the model's golden answers."""


class LabelBody(Body):
    """What a row is in truth, by a person's judgement."""

    label: str | float | list[float]
    """The name of one of the model's classes; of a regression a number, or a list where it has several outputs."""
    by: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    """Who says so."""


class LabelSaid(Reply):
    """A label that was given."""

    label: str | list[float]
    by: str | None
    """Who, as the request said."""
    key: str | None
    """The name of the API key that was shown."""
    time: float
    """Seconds since 1970, UTC."""


class ReviewRow(Reply):
    """A row of the prediction log."""

    id: str
    """Its own; a label is sent to it."""
    time: float
    """When it was answered: seconds since 1970, UTC."""
    request_id: str
    route: str
    """As the metrics name it."""
    model: str
    version: int
    row: int
    """Its number in the request."""
    inputs: Row | None
    """As it may be sent again, of several inputs an object of them; null where the service does not keep inputs."""
    answer: ClassSpread | RegressionSpread | ClassAnswer | RegressionAnswer
    """As it was answered, without what only some requests ask for."""
    samples: int
    """How many thinned networks were asked; 0: the network without dropout."""
    seed: int | None
    predictive_entropy: float | None
    mutual_information: float | None
    decision: Literal["accept", "refer"] | None
    label: str | list[float] | None
    """What a person said last; null: nobody has."""
    history: list[LabelSaid]
    """All that was said, from first to last."""


class ReviewPage(Reply):
    """Some of the rows."""

    rows: list[ReviewRow]
    next: str | None
    """Send it as `after` to get those that follow; null: there are no more."""
