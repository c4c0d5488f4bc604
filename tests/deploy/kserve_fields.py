"""Whether resources of KServe, as JSON on stdin, have only fields that KServe knows, of the types that it expects; run
by a Python that has kserve. Prints what is amiss, as JSON."""

import json
import re
import sys
from collections.abc import Iterator
from typing import Any

import kserve.models
import kubernetes.client

PLAIN = {"str": (str,), "int": (int,), "bool": (bool,), "float": (int, float), "object": (object,)}
KINDS = {"ServingRuntime": "V1alpha1ServingRuntime", "InferenceService": "V1beta1InferenceService"}


def find_faults(value: Any, kind: str, place: str) -> Iterator[str]:
    """What of a value is not as its type says."""
    if item := re.fullmatch(r"(list|dict)[\[(](?:str, )?(.+)[\])]", kind, re.IGNORECASE):
        expected = list if item[1].lower() == "list" else dict
        if not isinstance(value, expected):
            yield f"{place}: expected a {expected.__name__}"
            return
        for key, entry in value.items() if isinstance(value, dict) else enumerate(value):
            yield from find_faults(entry, item[2], f"{place}.{key}")
    elif kind in PLAIN:
        if not isinstance(value, PLAIN[kind]) or (kind == "int" and isinstance(value, bool)):
            yield f"{place}: expected {kind}, found {value!r}"
    elif model := getattr(kserve.models, kind, None) or getattr(kubernetes.client, kind, None):
        yield from find_faults_of_fields(value, model, place)
    else:
        yield f"{place}: nothing is known of the type {kind}"


def find_faults_of_fields(value: Any, model: Any, place: str) -> Iterator[str]:
    """The same of the fields of an object."""
    if not isinstance(value, dict):
        yield f"{place}: expected an object"
        return
    types = {name: model.openapi_types[attribute] for attribute, name in model.attribute_map.items()}
    for name, entry in value.items():
        if name in types:
            yield from find_faults(entry, types[name], f"{place}.{name}")
        else:
            yield f"{place}.{name}: there is no such field"


if __name__ == "__main__":
    resources = json.load(sys.stdin)
    print(json.dumps([fault for one in resources for fault in find_faults(one, KINDS[one["kind"]], one["kind"])]))  # noqa: T201 - the test reads it
