"""The operations `/predict` and `/uncertainty`: decode a request, and encode its answer.

This is the hot path, without FastAPI: `service.http.gate` calls it, and `service.http.openapi.inference` describes it.
"""

from functools import partial
from weakref import WeakKeyDictionary

from service.access.bodies import Operation
from service.access.calls import Call, Reply
from service.api.bodies import decode_body
from service.api.replies import Heading, prediction_entries, uncertainty_entries
from service.api.requests import PredictRequest, UncertaintyRequest
from service.config import Settings
from service.engine.engine import Engine
from service.engine.job import Job
from service.inference import Answer, Request, plan
from service.rows.json_chunks import decode_seconds
from service.turn import Encode


class Predict(Operation):
    """The deterministic answer."""

    route = "/predict"

    def __init__(self, settings: Settings) -> None:
        """Decode within the limits of the settings."""
        self._settings = settings
        self._headings: WeakKeyDictionary[Engine, Heading] = WeakKeyDictionary()

    def check(self, call: Call) -> None:
        """Check the head of a call. Raises InvalidInput or UnsupportedMediaType."""
        call.expect_json()
        call.expect_no_query()

    def decode_seconds(self, call: Call, body: bytes) -> float:  # noqa: ARG002
        """Return the estimated time of decoding a body."""
        return decode_seconds(body)

    def decode(self, call: Call, engine: Engine, body: bytes, job: Job) -> tuple[Request, Encode[Reply]]:  # noqa: ARG002
        """Return the request in a body, and the encoder of its answer."""
        options, inputs = decode_body(body, PredictRequest, engine.manifest, self._settings.max_rows, job)
        return Request(engine, inputs), partial(self._encode_prediction, options.coverage)

    def _encode_prediction(self, coverage: float | None, answer: Answer, rows: slice) -> Reply:
        engine = answer.request.engine
        entries = answer.share(coverage, lambda: prediction_entries(engine.manifest, answer.prediction, coverage))
        heading = self._headings.get(engine) or self._headings.setdefault(engine, Heading(engine.manifest))
        return Reply(heading.encode(entries[rows]))


class Sample(Predict):
    """The answer of thinned networks."""

    route = "/uncertainty"

    def decode(self, call: Call, engine: Engine, body: bytes, job: Job) -> tuple[Request, Encode[Reply]]:  # noqa: ARG002
        """Return the request in a body, and the encoder of its answer."""
        options, inputs = decode_body(body, UncertaintyRequest, engine.manifest, self._settings.max_rows, job)
        return plan(engine, inputs, options, self._settings), partial(_encode_uncertainty, options.coverage)


def _encode_uncertainty(coverage: float | None, answer: Answer, rows: slice) -> Reply:
    manifest = answer.request.engine.manifest
    sampling, sampled = answer.sampling
    passes = answer.most_passes(rows)
    heading = answer.share(("heading", passes), lambda: Heading(manifest, sampling, passes, answer.decision))
    entries = answer.share(
        ("entries", coverage), lambda: uncertainty_entries(manifest, sampling, sampled, coverage, answer.decision)
    )
    return Reply(heading.encode(entries[rows]))
