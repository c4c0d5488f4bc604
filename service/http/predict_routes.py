"""`/predict` and `/uncertainty`: decode the request, and encode its answer.

This is the hot path, without FastAPI: `service.http.gate` calls it, and `service.http.openapi.inference` describes it.
"""

from functools import partial

from service.access.bodies import Decoder
from service.access.calls import Call, Reply
from service.api.decoding import decode_request
from service.api.replies import Heading, prediction_entries, uncertainty_entries
from service.api.requests import PredictRequest, UncertaintyRequest
from service.config import Settings
from service.engine.engine import Engine
from service.engine.job import Job
from service.inference import Answer, Request, plan
from service.rows.json_chunks import decode_seconds
from service.rows.json_rows import read_inputs
from service.turn import Encode


class PredictRoutes:
    """The routes `/predict` and `/uncertainty`, of the default model or of the one in the path."""

    def __init__(self, settings: Settings) -> None:
        """Decode within the limits of the settings."""
        self._settings = settings

    def predict(self, call: Call, engine: Engine) -> Decoder:
        """Return the decoder of a call for the deterministic answer. Raises the errors of `service.errors`."""
        _check_head(call)
        return Decoder(partial(self._decode_predict, engine), decode_seconds)

    def sample(self, call: Call, engine: Engine) -> Decoder:
        """Return the decoder of a call for samples. Raises the errors of `service.errors`."""
        _check_head(call)
        return Decoder(partial(self._decode_sample, engine), decode_seconds)

    def _decode_predict(self, engine: Engine, body: bytes, job: Job) -> tuple[Request, Encode[Reply]]:
        requested = decode_request(body, PredictRequest)
        inputs = read_inputs(requested.inputs, engine.manifest, self._settings.max_rows, job)
        return Request(engine, inputs), partial(_encode_prediction, requested.coverage)

    def _decode_sample(self, engine: Engine, body: bytes, job: Job) -> tuple[Request, Encode[Reply]]:
        options = decode_request(body, UncertaintyRequest)
        inputs = read_inputs(options.inputs, engine.manifest, self._settings.max_rows, job)
        return plan(engine, inputs, options, self._settings), partial(_encode_uncertainty, options.coverage)


def _check_head(call: Call) -> None:
    call.expect_json()
    call.expect_no_query()


def _encode_prediction(coverage: float | None, answer: Answer, rows: slice) -> Reply:
    manifest = answer.request.engine.manifest
    entries = answer.share(("entries", coverage), lambda: prediction_entries(manifest, answer.prediction, coverage))
    heading = answer.share("heading", lambda: Heading(manifest))
    return Reply(heading.encode(entries[rows]))


def _encode_uncertainty(coverage: float | None, answer: Answer, rows: slice) -> Reply:
    manifest = answer.request.engine.manifest
    sampling, sampled = answer.sampling
    entries = answer.share(
        ("entries", coverage),
        lambda: uncertainty_entries(manifest, sampling, sampled, coverage, answer.decision),
    )
    passes = sampled.most_passes if not sampling.stop else int(sampled.passes[rows].max())
    heading = answer.share(("heading", passes), lambda: Heading(manifest, sampling, passes, answer.decision))
    return Reply(heading.encode(entries[rows]))
