"""The two questions that a model answers, what and how sure: from the bytes of a request to those of the answer.

This is the hot path, on bare ASGI: `service.http.gate` calls it, FastAPI never sees it, `service.http.openapi.document`
describes it.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from service.access.calls import Call
from service.access.compression import decompress_steps
from service.api.decoding import decode_request
from service.api.replies import encode_prediction, encode_uncertainty
from service.api.requests import PredictRequest, UncertaintyRequest, plan_sampling
from service.config import Settings
from service.engine.decisions import decide
from service.engine.engine import Engine
from service.engine.stages import Stopwatch
from service.engine.steps import Steps, count_rows
from service.errors import InvalidInput
from service.repository.repository import Repository
from service.rows.json_chunks import CHUNK_BYTES, decode_seconds
from service.rows.json_rows import decode_inputs_steps
from service.telemetry.outcomes import Answered, Outcome, describe
from service.work.scheduling import Scheduler

PATH = re.compile(r"/v1/models/([^/]+)(?:/versions/([^/]+))?/(predict|uncertainty)")

ROUTES = {"predict": "/predict", "uncertainty": "/uncertainty"}
"""By question: the path that asks it of the default model. Metrics name it whatever model was asked."""


class Asked(NamedTuple):
    """What a path asks."""

    model: str | None
    version: str | None
    question: str


OF_DEFAULT = {path: Asked(None, None, question) for question, path in ROUTES.items()}

Reply = tuple[bytes, Outcome]
Handler = Callable[[Engine, bytes, Stopwatch], Steps[Reply]]


class Inference:
    """Answers `/predict` and `/uncertainty`, of the default model or of one that the path names."""

    def __init__(self, repository: Repository, scheduler: Scheduler, settings: Settings) -> None:
        self._repository = repository
        self._scheduler = scheduler
        self._settings = settings
        self._handlers: dict[str, Handler] = {"predict": self._predict, "uncertainty": self._uncertainty}

    async def answer(self, call: Call, asked: Asked) -> None:
        """Answer a call whose path asks this; raises what `service.errors` lists."""
        call.route = ROUTES[asked.question]
        engine = self._repository.find(asked.model, parse_version(asked.version))
        call.manifest = engine.manifest
        call.expect_json()
        call.expect_no_query()
        allowed = self._settings.request_timeout
        body = await call.body(self._settings.max_body_bytes, call.seconds_left(allowed))
        steps = self._steps(self._handlers[asked.question], engine, call, body)
        content, call.outcome = await self._scheduler.run(steps, call.seconds_left(allowed), call.gone)
        await call.reply(content)

    def _steps(self, handler: Handler, engine: Engine, call: Call, body: bytes) -> Steps[Reply]:
        body = yield from decompress_steps(body, call.headers, self._settings.max_body_bytes, call.watch)
        if len(body) > CHUNK_BYTES:
            yield decode_seconds(body)
            call.watch.lap("queue")
        return (yield from handler(engine, body, call.watch))

    def _predict(self, engine: Engine, body: bytes, watch: Stopwatch) -> Steps[Reply]:
        request = decode_request(body, PredictRequest)
        inputs = yield from decode_inputs_steps(request.inputs, engine.manifest, self._settings.max_rows)
        watch.lap("parse")
        prediction = yield from engine.predict_steps(inputs, watch)
        content = encode_prediction(engine.manifest, prediction, request.coverage)
        watch.lap("encode")
        return content, Outcome(len(prediction.values), answered=Answered(inputs, prediction))

    def _uncertainty(self, engine: Engine, body: bytes, watch: Stopwatch) -> Steps[Reply]:
        request = decode_request(body, UncertaintyRequest)
        inputs = yield from decode_inputs_steps(request.inputs, engine.manifest, self._settings.max_rows)
        sampling = plan_sampling(request, engine.manifest, count_rows(inputs), self._settings)
        watch.lap("parse")
        sampled = yield from engine.sample_steps(inputs, sampling, watch)
        decision = decide(engine.manifest, sampling, sampled.uncertainty, request.error_rate)
        content = encode_uncertainty(engine.manifest, sampling, sampled, request, decision)
        outcome = describe(inputs, sampling, sampled, decision)
        watch.lap("encode")
        return content, outcome


def read_path(path: str) -> Asked | None:
    """What a path asks; None where it asks no question of a model."""
    if asked := OF_DEFAULT.get(path):
        return asked
    if match := PATH.fullmatch(path):
        return Asked(*match.groups())
    return None


def parse_version(text: str | None) -> int | None:
    """The version in a path; raises InvalidInput when it is no number."""
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise InvalidInput(f"version: expected a whole number, found {text}", field="version")
    return int(text)
