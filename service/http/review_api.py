"""What was referred to a person, listed, and what the person says of it, taken: `/v1/review`.

Whoever may do this sees what others sent, so it needs a key of the scope review.
"""

import asyncio
from dataclasses import fields
from typing import Annotated, Any, cast

import msgspec
from fastapi import APIRouter, Path, Query, Request, Response

from service.access.calls import Call
from service.api import schemas
from service.api.decoding import decode_request
from service.errors import InvalidInput, UnknownPath
from service.http.openapi.operations import OF_BODIES, Responses, json_body, refusal, refusals
from service.http.routes import json_response
from service.review.review import LabelRequest, Review
from service.review.store import Decided, Order, State
from service.review.store import Query as Asked

MAX_BODY_BYTES = 2**16
MAX_LIMIT = 1000
KNOWN = tuple(field.name for field in fields(Asked))
"""The query parameters of a listing."""

NO_LOG = "there is nothing to review: DROPSERVE_PREDICTION_LOG, a folder or a URL to keep answers in, is not set"
NO_NUL = r"^[^\x00]*$"
"""Which PostgreSQL has no place for in a text."""
Id = Annotated[str, Path(description="Of the row, as it was listed.")]

AWAY: Responses = {503: refusal("The store cannot be reached; the message says why.")}
UNKNOWN: Responses = refusals(422) | {404: refusal("There is no such row.")}


def make_review_router(review: Review, seconds: float) -> APIRouter:
    """The routes; a body must arrive within so many seconds."""
    router = APIRouter(prefix="/v1/review", tags=["review"], responses=AWAY)

    @router.get("", response_model=schemas.ReviewPage, responses=refusals(422), summary="What waits for a person")
    async def list_review_rows(
        request: Request,
        model: Annotated[str | None, Query(description="Only of this model.", pattern=NO_NUL)] = None,
        decision: Annotated[Decided, Query(description="`any`: those without a decision too.")] = "refer",
        state: Annotated[State, Query(description="`open`: not labelled yet.")] = "open",
        order: Annotated[Order, Query(description="`information`: the highest mutual information first.")] = "newest",
        limit: Annotated[int, Query(description="Rows of a page.", ge=1, le=MAX_LIMIT)] = 50,
        after: Annotated[str | None, Query(description="The `next` of the page before.", pattern=NO_NUL)] = None,
    ) -> Response:
        """Rows that were referred and that nobody has labelled, with the inputs and the answer; or others."""
        for name in request.query_params.keys() - KNOWN:
            expected = ", ".join(KNOWN)
            raise InvalidInput(f"?{name[:100]}: expected one of {expected}", field=name[:100], expected=list(KNOWN))
        asked = Asked(model, decision, state, order, limit, after)
        return _reply(await asyncio.to_thread(review.page, asked))

    @router.get(
        "/{id}", response_model=schemas.ReviewRow, responses=UNKNOWN, summary="One row, and what was said of it"
    )
    async def get_review_row(id: Id) -> Response:  # noqa: A002 - the path's own word
        """Any row of the prediction log."""
        return _reply(await asyncio.to_thread(review.find, id))

    @router.post(
        "/{id}",
        response_model=schemas.ReviewRow,
        responses=UNKNOWN | refusals(*OF_BODIES),
        summary="What a row is in truth",
        openapi_extra={"requestBody": json_body(schemas.LabelBody, {"label": "4", "by": "Ada"})},
    )
    async def label_review_row(request: Request, id: Id) -> Response:  # noqa: A002
        """Keep a person's label. A later one corrects it, and the earlier stays in the history; the same again
        changes nothing.
        """
        call = cast("Call", request.scope["call"])
        call.expect_json()
        said = decode_request(await call.body(MAX_BODY_BYTES, seconds), LabelRequest)
        return _reply(await asyncio.to_thread(review.label, id, said, call.caller))

    return router


def make_refusing_router() -> APIRouter:
    """The same paths where there is no log, which say how there would be one."""
    router = APIRouter(prefix="/v1/review", include_in_schema=False)

    @router.get("")
    @router.get("/{id}")
    @router.post("/{id}")
    def refuse() -> Response:
        raise UnknownPath(NO_LOG)

    return router


def _reply(answer: dict[str, Any]) -> Response:
    return json_response(msgspec.json.encode(answer))
