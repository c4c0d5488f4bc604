"""OpenAPI links from the answer of one operation to the parameters of another."""

from collections.abc import Mapping
from typing import Any, NamedTuple

Json = dict[str, Any]


class Link(NamedTuple):
    """An operation whose parameters are in an answer."""

    method: str
    path: str
    parameters: Mapping[str, str]
    """Path parameters, as runtime expressions of the request or its answer."""
    inputs: str | None = None
    """The runtime expression of the rows to send."""


MODEL, VERSION = "/v1/models/{name}", "/v1/models/{name}/versions/{version}"
OIP_MODEL, OIP_VERSION = "/v2/models/{name}", "/v2/models/{name}/versions/{version}"
LISTED = {"name": "$response.body#/models/0/model"}
NAMED = {"name": "$request.path.name"}
DETAILED = NAMED | {"version": "$response.body#/versions/0/version"}
INDEXED = {"name": "$response.body#/0/name"}
DESCRIBED = NAMED | {"version": "$response.body#/versions/0"}
SAME = NAMED | {"version": "$request.path.version"}
ROWS = "$response.body#/inputs"

LINKS: Mapping[tuple[str, str], Mapping[str, Link]] = {
    ("get", "/v1/models"): {
        "model": Link("get", MODEL, LISTED),
        "examples": Link("get", f"{MODEL}/examples", LISTED),
        "files": Link("get", "/models/{name}/files", LISTED),
    },
    ("get", MODEL): {
        "version": Link("get", VERSION, DETAILED),
        "examples": Link("get", f"{VERSION}/examples", DETAILED),
        "unload": Link("post", f"{VERSION}/unload", DETAILED),
    },
    ("post", f"{VERSION}/unload"): {"load": Link("post", f"{VERSION}/load", SAME)},
    ("get", f"{MODEL}/examples"): {
        "predict": Link("post", f"{MODEL}/predict", NAMED, ROWS),
        "uncertainty": Link("post", f"{MODEL}/uncertainty", NAMED, ROWS),
    },
    ("get", f"{VERSION}/examples"): {
        "predict": Link("post", f"{VERSION}/predict", SAME, ROWS),
        "uncertainty": Link("post", f"{VERSION}/uncertainty", SAME, ROWS),
    },
    ("post", "/v2/repository/index"): {
        "model": Link("get", OIP_MODEL, INDEXED),
        "ready": Link("get", f"{OIP_MODEL}/ready", INDEXED),
    },
    ("get", OIP_MODEL): {
        "version": Link("get", OIP_VERSION, DESCRIBED),
        "infer": Link("post", f"{OIP_MODEL}/infer", NAMED),
    },
}
"""Links by method and path of the operation whose successful answer has them."""


def add_links(api: Json) -> None:
    """Add the links between operations of an OpenAPI document."""
    described = {(method, path): made for path, methods in api["paths"].items() for method, made in methods.items()}
    for source, links in LINKS.items():
        if source in described:
            described[source]["responses"]["200"]["links"] = {
                name: _describe(link, described[link.method, link.path]["operationId"])
                for name, link in links.items()
                if (link.method, link.path) in described
            }


def _describe(link: Link, operation: str) -> Json:
    made: Json = {"operationId": operation, "parameters": dict(link.parameters)}
    return made | ({"requestBody": {"inputs": link.inputs}} if link.inputs else {})
