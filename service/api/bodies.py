"""Decode the JSON body of a request: its options and its rows."""

from functools import cache
from typing import Any, TypeVar

import msgspec

from service.api.decoding import decode_request
from service.api.requests import PredictRequest, UncertaintyRequest
from service.engine.job import Job
from service.model.manifest import Manifest
from service.model.runtime import Array
from service.rows.inputs import FIELD
from service.rows.json_chunks import CHUNK_BYTES
from service.rows.json_rows import decode_inputs
from service.rows.unchecked import ListedRows

Options = TypeVar("Options", PredictRequest, UncertaintyRequest)


def decode_body(
    body: bytes, kind: type[Options], manifest: Manifest, max_rows: int, job: Job
) -> tuple[Options, dict[str, Array] | ListedRows]:
    """Return the options and the rows of a body; those of a short one are fitted later, with those of other requests.

    Raises MalformedBody, InvalidInput or LimitExceeded.
    """
    if len(body) <= CHUNK_BYTES and len(manifest.inputs) == 1 and not manifest.categories:
        try:
            whole = _decoder(kind, manifest.inputs[0].json_rows).decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass  # decoded again, for the place of the error or another form of the rows
        else:
            if 0 < len(whole.inputs) <= max_rows:
                return whole, ListedRows(whole.inputs)
    options = decode_request(body, kind)
    return options, decode_inputs(options.inputs, manifest, max_rows, job)


@cache
def _decoder(kind: type[Options], rows: Any) -> msgspec.json.Decoder[Any]:
    """Return a decoder of options together with rows of this type."""
    return msgspec.json.Decoder(
        msgspec.defstruct(kind.__name__, [(FIELD, rows)], bases=(kind,), forbid_unknown_fields=True)
    )
