"""The service's settings, read from environment variables (`DROPSERVE_…`) when `Settings()` is called."""

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.errors import DropserveError
from service.model.manifest import MAX_MODEL_BYTES

Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
MAX_WORKERS = 256
"""Upper bound of `workers`; more would fill the memory of most machines."""
Url = Annotated[str, Field(pattern=r"^[a-z][a-z0-9+.-]*://.")]


PREFIX = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*")


def _path_prefix(path: str) -> str:
    """Return a path prefix without the slash at its end."""
    prefix = path.rstrip("/")
    if not PREFIX.fullmatch(prefix):
        raise ValueError("expected a path such as /ml, of A-Z a-z 0-9 . _ ~ -")
    return prefix


PathPrefix = Annotated[str, AfterValidator(_path_prefix)]


def _from_json(value: object) -> object:
    """Parse the JSON of an environment variable; return values given in code as they are."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError("expected JSON") from None


def _lower(text: object) -> object:
    return text.lower() if isinstance(text, str) else text


def _without_brackets(host: object) -> object:
    """Return an IPv6 address without the brackets that URLs put around it."""
    return host[1:-1] if isinstance(host, str) and host.startswith("[") and host.endswith("]") else host


class InvalidSettings(DropserveError):
    """The service cannot start with these settings."""

    code = "invalid_settings"

    def __init__(self, reasons: Mapping[str, str]) -> None:
        """Join the reasons, given by setting, to one message."""
        super().__init__("; ".join(f"{name}: {reason}" for name, reason in reasons.items()))
        self.reasons = reasons
        """The values expected and found, by the setting's name."""


class Settings(BaseSettings):
    """The settings of the service, each with a default that works.

    The environment variable of a setting is its name in capitals after `DROPSERVE_`.
    """

    model_config = SettingsConfigDict(
        env_prefix="DROPSERVE_",
        frozen=True,
        extra="forbid",
        env_ignore_empty=True,
        enable_decoding=False,
    )

    models: Url | Path = Path("models")
    """The folder of published models, `<name>/<version>/`, or its URL: s3://…, gs://… or https://…"""

    default_model: str | None = None
    """The model that serves `/predict` and `/uncertainty`; unset: the first by name."""

    pins: Annotated[dict[str, Count], BeforeValidator(_from_json)] = {}
    """The default version of each model, as a JSON object such as `{"digits": 1}`; other models serve their highest."""

    watch: bool = True
    """Whether to watch the folder of models through the operating system and load changes at once."""

    poll_seconds: Seconds = 30.0
    """Seconds between two checks of the folder or URL of models for changes."""

    cache: Path | None = None
    """The folder that keeps copies of models read from a URL; unset: the user's cache folder."""

    state: Path | None = None
    """The folder in which workers share their metrics and which models were unloaded by request; unset: a temporary
    one for several workers, none for one."""

    max_model_bytes: Count = MAX_MODEL_BYTES
    """The largest total size of the files of one version, in bytes."""

    host: Annotated[str, BeforeValidator(_without_brackets), Field(min_length=1)] = "127.0.0.1"
    """The address or host name to listen on; 0.0.0.0 for all IPv4 addresses, :: for all IPv4 and IPv6 addresses."""

    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """The port to listen on; 0 takes a free one."""

    root_path: PathPrefix | None = None
    """The path prefix of all URLs, such as `/ml`, behind a proxy that passes it on; unset for a proxy that removes
    it."""

    grpc_port: Annotated[int, Field(ge=0, le=65535)] | None = None
    """The port of the Open Inference Protocol over gRPC; 0 takes a free one; unset: HTTP only."""

    workers: Annotated[int, Field(ge=1, le=MAX_WORKERS)] = 1
    """Number of worker processes, each of which loads all models; more than the number of processors rarely helps."""

    api_keys: Path | None = None
    """The file of API keys, read at the start and on SIGHUP; unset: no key is required."""

    cors_origins: Annotated[tuple[str, ...], BeforeValidator(_from_json)] = ()
    """Origins whose pages may call the service from a browser, a JSON list such as `["https://app.example.org"]`."""

    ssl_certfile: Path | None = None
    """The TLS certificate with its chain, in PEM, read at the start and on SIGHUP; if set, only HTTPS is served."""

    ssl_keyfile: Path | None = None
    """The private key of the certificate, in PEM; unset: it is in the same file as the certificate."""

    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] = 0
    """The seed of requests without one, which makes their answers repeatable."""

    samples: Count = 100
    """The number of samples of requests without one; never more than max_samples."""

    max_samples: Count = 10_000
    """The largest number of samples of a request."""

    max_rows: Count = 10_000
    """The largest number of rows of a request."""

    max_row_samples: Count = 1_000_000
    """The largest number of rows × samples of a request."""

    max_returned_values: Count = 1_000_000
    """The largest number of rows × samples × outputs of a request with `return_samples`."""

    max_body_bytes: Count = 16 * 2**20
    """The largest request body, in bytes, also after decompression."""

    request_timeout: Seconds = 30.0
    """Seconds until a request fails with a timeout error; over HTTP, counted from its arrival."""

    drain_timeout: Seconds = 30.0
    """Seconds for requests in flight to finish during a shutdown."""

    drain_delay: Annotated[float, Field(ge=0)] = 0.0
    """Seconds at the start of a shutdown in which the service reports that it is not ready but still accepts requests,
    so that load balancers notice."""

    queue_size: Count = 64
    """The largest number of long requests waiting or running at a time; more are refused at once."""

    max_wait: Seconds = 2.0
    """Seconds that a request may wait in the socket behind earlier ones before it is refused; over HTTP only, as gRPC
    reports no arrival times."""

    max_connections: Count = 4096
    """The largest number of open connections of each worker; at the limit, the connection idle for longest is closed,
    or where none is idle the new one after one answer."""

    idle_timeout: Count = 5
    """Whole seconds of silence after which a connection is closed: between requests, within a request's head, or while
    the client reads no answer; behind a load balancer, set it above the balancer's own idle timeout."""

    inline_seconds: Annotated[float, Field(ge=0)] = 0.001
    """Seconds up to which a request runs on the event loop; longer ones run in a thread. Those of one turn of the loop
    run together, in batches of four times as long at most."""

    threads: Count = 1
    """Threads that onnxruntime may use for one run of a large network; small networks are fastest with one."""

    mask_cache_bytes: Annotated[int, Field(ge=0)] = 64 * 2**20
    """Memory for cached dropout masks, in bytes."""

    prediction_log: Url | Path | None = None
    """The store of rows and their answers for review: a folder for Parquet files, or the URL of a database,
    sqlite:///… or postgresql://…; unset: nothing is logged."""

    prediction_log_inputs: bool = True
    """Whether the prediction log contains the rows themselves, which labelling and training need."""

    prediction_log_days: Seconds | None = None
    """Days after which rows of the prediction log are deleted with their labels; unset: never."""

    prediction_log_seconds: Seconds = 10.0
    """Seconds between two writes of the prediction log; into a folder, each worker writes one file each time."""

    prediction_log_queue_bytes: Count = 64 * 2**20
    """Memory of each worker for answers not yet written, in bytes; answers beyond it are dropped and counted."""

    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = "info"
    """The lowest level of messages to log: debug, info, warning or error."""

    access_log: bool = False
    """Whether to log one line for each request; requests that end in a server error are always logged."""

    @property
    def default_samples(self) -> int:
        """The number of samples of requests without one: the setting, or the limit if that is lower."""
        return min(self.samples, self.max_samples, self.max_row_samples)


EXAMPLES = {"pins": '{"digits": 1}', "cors_origins": '["https://app.example.org"]'}
"""Example values of settings in JSON, by name."""

WORDING = {
    "bool_parsing": "expected true or false",
    "float_parsing": "expected a number",
    "greater_than": "expected more than {gt}",
    "greater_than_equal": "expected at least {ge}",
    "int_parsing": "expected a whole number",
    "less_than_equal": "expected at most {le}",
}
"""Messages by pydantic's type of an error; other types keep pydantic's message."""

SERVICE_LINK = re.compile(r"(.*_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)")
"""Endings of the variables that Kubernetes sets for each Service, after the Service's name."""
LINK_URL = re.compile(r"(tcp|udp|sctp)://")
LINK_REMEDY = (
    "Kubernetes sets it for a Service of that name; in the pod's spec write enableServiceLinks: false, or set the "
    "variable in the container's env, or rename the Service"
)


def explain(error: ValidationError) -> dict[str, str]:
    """Return the values expected and found, in words, by the setting's name."""
    reasons: dict[str, str] = {}
    for each in error.errors():
        name = str(each["loc"][0]) if each["loc"] else "settings"
        expected = WORDING.get(each["type"], "").format(**each.get("ctx", {})) or each["msg"]
        expected = expected.removeprefix("Value error, ").replace("Input should be", "expected", 1)
        expected += f", such as {EXAMPLES[name]}" if name in EXAMPLES else ""
        reason = f"{expected}, found {each['input']!r}"
        if LINK_URL.match(str(each["input"])):
            reason = f"expected a number, found {each['input']!r}: {LINK_REMEDY}"
        reasons.setdefault(name, reason)
    return reasons


def find_misspelt(variables: Iterable[str]) -> dict[str, str]:
    """Return the variables that start with `DROPSERVE_` but are no setting, each with the nearest setting or "".

    Variables that Kubernetes sets for a Service, such as DROPSERVE_SERVICE_HOST, are left out.
    """
    prefix = str(Settings.model_config["env_prefix"])
    known = [name.upper() for name in Settings.model_fields]
    found = {}
    for variable in variables:
        name = variable.upper().removeprefix(prefix)
        if variable.upper().startswith(prefix) and name not in known and not SERVICE_LINK.fullmatch(name):
            found[variable] = "".join(prefix + near for near in difflib.get_close_matches(name, known, 1, cutoff=0.75))
    return found
