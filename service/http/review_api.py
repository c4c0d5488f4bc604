"""The routes of review, `/v1/review`: list rows of the prediction log, and label them.

They show other callers' data, so they need a key of the scope review.
"""

import asyncio
from dataclasses import fields
from typing import Annotated, Any, cast

import msgspec
from fastapi import APIRouter, Path, Query, Request, Response

from service.access.calls import ASGICall
from service.api.decoding import decode_request
from service.errors import InvalidInput, UnknownPath
from service.http.json_response import json_response
from service.http.openapi.operations import OF_BODIES, Responses, json_body, refusal, refusals, reply
from service.review.review import LabelRequest, Review
from service.review.store import Decided, Order, State
from service.review.store import Query as Selection

MAX_BODY_BYTES = 2**16
MAX_LIMIT = 1000
KNOWN = tuple(field.name for field in fields(Selection))
"""The query parameters of a listing."""

NO_LOG = "there is no prediction log to review: DROPSERVE_PREDICTION_LOG, its folder or URL, is not set"
NO_NUL = r"^[^\x00]*$"
"""Text without NUL, which PostgreSQL cannot store."""
Id = Annotated[str, Path(description="Identifier of the row.")]

AWAY: Responses = {503: refusal("The store cannot be reached; the message has the reason.")}
UNKNOWN: Responses = refusals(422) | {404: refusal("The row does not exist.")}


def make_review_router(review: Review, seconds: float) -> APIRouter:
    """Return the routes; a body must arrive within `seconds`."""
    router = APIRouter(prefix="/v1/review", tags=["review"], responses=AWAY)

    @router.get("", responses=reply("ReviewPage") | refusals(422), summary="List rows for review")
    async def list_review_rows(
        request: Request,
        model: Annotated[str | None, Query(description="Only of this model.", pattern=NO_NUL)] = None,
        decision: Annotated[Decided, Query(description="`any`: also rows without a decision.")] = "refer",
        state: Annotated[State, Query(description="`open`: not labelled yet.")] = "open",
        order: Annotated[Order, Query(description="`information`: the highest mutual information first.")] = "newest",
        limit: Annotated[int, Query(description="Rows of a page.", ge=1, le=MAX_LIMIT)] = 50,
        after: Annotated[str | None, Query(description="The `next` of the previous page.", pattern=NO_NUL)] = None,
    ) -> Response:
        """Return rows with inputs and answers, by default referred rows without a label."""
        for name in request.query_params.keys() - KNOWN:
            expected = ", ".join(KNOWN)
            raise InvalidInput(f"?{name[:100]}: expected one of {expected}", field=name[:100], expected=list(KNOWN))
        selection = Selection(model, decision, state, order, limit, after)
        return _reply(await asyncio.to_thread(review.page, selection))

    @router.get("/{id}", responses=reply("ReviewRow") | UNKNOWN, summary="Get a row with its labels")
    async def get_review_row(id: Id) -> Response:  # noqa: A002 - the path's own word
        """Return a row of the prediction log."""
        return _reply(await asyncio.to_thread(review.find, id))

    @router.post(
        "/{id}",
        responses=reply("ReviewRow") | UNKNOWN | refusals(*OF_BODIES),
        summary="Label a row",
        openapi_extra={"requestBody": json_body("LabelBody", {"label": "4", "by": "Ada"})},
    )
    async def label_review_row(request: Request, id: Id) -> Response:  # noqa: A002
        """Add a person's label; the latest one is valid, and earlier ones stay in the history."""
        call = cast("ASGICall", request.scope["call"])
        call.expect_json()
        given = decode_request(await call.body(MAX_BODY_BYTES, seconds), LabelRequest)
        return _reply(await asyncio.to_thread(review.label, id, given, call.caller))

    return router


def make_refusing_router() -> APIRouter:
    """Return the same paths for a service without a prediction log, with an error that names the setting."""
    router = APIRouter(prefix="/v1/review", include_in_schema=False)

    @router.get("")
    @router.get("/{id}")
    @router.post("/{id}")
    def refuse() -> Response:
        raise UnknownPath(NO_LOG)

    return router


def _reply(answer: dict[str, Any]) -> Response:
    return json_response(msgspec.json.encode(answer))
