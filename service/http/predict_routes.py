"""`/predict` and `/uncertainty`: decode the request, run inference, encode the answer.

This is the hot path, on ASGI without FastAPI: `service.http.gate` calls it, and `service.http.openapi.inference`
describes it.
"""

import re
from functools import partial
from typing import NamedTuple

from service.access.bodies import answer_body
from service.access.calls import Call
from service.api.decoding import decode_request
from service.api.replies import encode_prediction, encode_uncertainty
from service.api.requests import PredictRequest, UncertaintyRequest, parse_version
from service.config import Settings
from service.engine.engine import Engine
from service.engine.job import Job
from service.inference import Request, plan
from service.repository.repository import Repository
from service.rows.json_chunks import decode_seconds
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


class PredictRoutes:
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
        decode = partial(self._predict if target.operation == "predict" else self._sample, engine)
        await call.reply(await answer_body(call, self._turns, self._settings, decode, decode_seconds))

    def _predict(self, engine: Engine, body: bytes, job: Job) -> tuple[Request, Encode[bytes]]:
        requested = decode_request(body, PredictRequest)
        inputs = decode_inputs(requested.inputs, engine.manifest, self._settings.max_rows, job)
        return Request(engine, inputs), lambda answer: encode_prediction(
            engine.manifest, answer.prediction, requested.coverage
        )

    def _sample(self, engine: Engine, body: bytes, job: Job) -> tuple[Request, Encode[bytes]]:
        options = decode_request(body, UncertaintyRequest)
        inputs = decode_inputs(options.inputs, engine.manifest, self._settings.max_rows, job)
        return plan(engine, inputs, options, self._settings), lambda answer: encode_uncertainty(
            engine.manifest, *answer.sampling, options, answer.decision
        )


def read_path(path: str) -> Target | None:
    """Return the target of a path, or None for a path of another kind."""
    if target := OF_DEFAULT.get(path):
        return target
    if match := PATH.fullmatch(path):
        return Target(*match.groups())
    return None
