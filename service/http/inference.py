"""`/predict` and `/uncertainty`: decode the request, run inference, encode the answer.

This is the hot path, on ASGI without FastAPI: `service.http.gate` calls it, and `service.http.openapi.inference`
describes it.
"""

import re
from functools import partial
from typing import NamedTuple

from service.access.calls import Call
from service.access.compression import decompress, find_encoding, inflate_seconds
from service.api.decoding import decode_request
from service.api.replies import encode_prediction, encode_uncertainty
from service.api.requests import PredictRequest, UncertaintyRequest, parse_version
from service.config import Settings
from service.engine.engine import Engine
from service.engine.job import Job
from service.inference import Answer, Request, plan
from service.repository.repository import Repository
from service.rows.json_chunks import CHUNK_BYTES, decode_seconds
from service.rows.json_rows import decode_inputs
from service.turn import Encode, Turns

PATH = re.compile(r"/v1/models/([^/]+)(?:/versions/([^/]+))?/(predict|uncertainty)")

ROUTES = {"predict": "/predict", "uncertainty": "/uncertainty"}
"""The path of each operation for the default model, which is the route in metrics for all models."""


class Target(NamedTuple):
    """The model and operation of a path."""

    model: str | None
    version: str | None
    operation: str


OF_DEFAULT = {path: Target(None, None, operation) for operation, path in ROUTES.items()}


class Inference:
    """Answers `/predict` and `/uncertainty`, for the default model or the one in the path."""

    def __init__(self, repository: Repository, turns: Turns, settings: Settings) -> None:
        """Answer for the models of `repository`; `turns` runs inference."""
        self._repository = repository
        self._turns = turns
        self._settings = settings

    async def answer(self, call: Call, target: Target) -> None:
        """Answer a call to this target. Raises the errors of `service.errors`."""
        call.route = ROUTES[target.operation]
        engine = self._repository.find(target.model, parse_version(target.version))
        call.manifest = engine.manifest
        call.expect_json()
        call.expect_no_query()
        allowed = self._settings.request_timeout
        body = await call.body(self._settings.max_body_bytes, call.seconds_left(allowed))
        encoding = find_encoding(call.headers)
        decode = partial(self._decode, target.operation, engine, body, encoding)
        seconds = inflate_seconds(self._settings.max_body_bytes) if encoding else _decode_seconds(body)
        await call.reply(await self._turns.answer(call, decode, seconds, call.seconds_left(allowed), call.gone))

    def _decode(
        self, operation: str, engine: Engine, body: bytes, encoding: str, job: Job
    ) -> tuple[Request, Encode[bytes]]:
        if encoding:
            body = decompress(body, encoding, self._settings.max_body_bytes)
            job.watch.lap("parse")
            job.pause(_decode_seconds(body))
        if operation == "predict":
            requested = decode_request(body, PredictRequest)
            inputs = decode_inputs(requested.inputs, engine.manifest, self._settings.max_rows, job)
            return Request(engine, inputs), lambda answer: encode_prediction(
                engine.manifest, answer.prediction, requested.coverage
            )
        options = decode_request(body, UncertaintyRequest)
        inputs = decode_inputs(options.inputs, engine.manifest, self._settings.max_rows, job)
        return plan(engine, inputs, options, self._settings), partial(_encode_sampled, options)


def read_path(path: str) -> Target | None:
    """Return the target of a path, or None for a path of another kind."""
    if target := OF_DEFAULT.get(path):
        return target
    if match := PATH.fullmatch(path):
        return Target(*match.groups())
    return None


def _encode_predicted(requested: PredictRequest, answer: Answer) -> bytes:
    return encode_prediction(answer.request.engine.manifest, answer.prediction, requested.coverage)


def _encode_sampled(options: UncertaintyRequest, answer: Answer) -> bytes:
    return encode_uncertainty(answer.request.engine.manifest, *answer.sampling, options, answer.decision)


def _decode_seconds(body: bytes) -> float:
    return decode_seconds(body) if len(body) > CHUNK_BYTES else 0.0
