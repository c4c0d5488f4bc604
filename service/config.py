"""The service's settings: from the environment (`DROPSERVE_…`), never read when a module is imported."""

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
"""Many more would fill the memory of most machines before they serve."""
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
    """Return what a variable holds as JSON; what comes from elsewhere is no text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError("expected JSON") from None


def _lower(text: object) -> object:
    return text.lower() if isinstance(text, str) else text


def _without_brackets(host: object) -> object:
    """Return an IPv6 address as sockets take it, where it is written as in a URL."""
    return host[1:-1] if isinstance(host, str) and host.startswith("[") and host.endswith("]") else host


class InvalidSettings(DropserveError):
    """Settings that the service cannot start with."""

    code = "invalid_settings"

    def __init__(self, reasons: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {reason}" for name, reason in reasons.items()))
        self.reasons = reasons
        """What was expected and what was found, by the setting's name."""


class Settings(BaseSettings):
    """Every setting has a default that works; the environment variable is `DROPSERVE_` and its name."""

    model_config = SettingsConfigDict(
        env_prefix="DROPSERVE_",
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        env_ignore_empty=True,
        enable_decoding=False,
    )

    models: Url | Path = Path("models")
    """The folder of published models, `<name>/<version>/`, or its URL: s3://…, gs://…, https://…"""

    default_model: str | None = None
    """The model that `/predict` and `/uncertainty` ask when none is named; unset: the first by name."""

    pins: Annotated[dict[str, Count], BeforeValidator(_from_json)] = {}
    """The version of a model that answers when none is named, as JSON: `{"digits": 1}`; else the highest does."""

    watch: bool = True
    """Whether the operating system is asked to tell at once of changes in the folder of models."""

    poll_seconds: Seconds = 30.0
    """Seconds after which the models, in the folder or behind the URL, are looked at again in any case."""

    cache: Path | None = None
    """Where models behind a URL are kept; unset: the user's own cache folder."""

    state: Path | None = None
    """A folder in which the workers of one service share what was unloaded by request; unset: each for itself."""

    max_model_bytes: Count = MAX_MODEL_BYTES
    """The most bytes that the files of one version may have together."""

    host: Annotated[str, BeforeValidator(_without_brackets), Field(min_length=1)] = "127.0.0.1"
    """The address to listen on, or a name of this machine; 0.0.0.0 for all its IPv4 addresses, :: for both families."""

    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """The port to listen on; 0 takes a free one."""

    root_path: PathPrefix | None = None
    """The path prefix of all URLs, such as `/ml`, where a proxy in front hands it on; one that removes it needs nothing
    set."""

    grpc_port: Annotated[int, Field(ge=0, le=65535)] | None = None
    """The port of the Open Inference Protocol over gRPC; 0 takes a free one. Unset: HTTP only."""

    workers: Annotated[int, Field(ge=1, le=MAX_WORKERS)] = 1
    """Processes that answer requests; each loads all models: as many as there are processors at the most, mostly."""

    api_keys: Path | None = None
    """The file of API keys, read at the start and on SIGHUP; unset: everybody may do everything."""

    cors_origins: Annotated[tuple[str, ...], BeforeValidator(_from_json)] = ()
    """Origins whose pages a browser lets ask, a JSON list such as `["https://app.example.org"]`."""

    ssl_certfile: Path | None = None
    """The certificate, with those that vouch for it, in PEM; then HTTPS alone is spoken. Read at the start and on
    SIGHUP."""

    ssl_keyfile: Path | None = None
    """The key of the certificate, in PEM, where it is not in the same file."""

    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] = 0
    """The seed of requests that give none, so that they too can be repeated."""

    samples: Count = 100
    """The number of passes of requests that give none; never more than max_samples."""

    max_samples: Count = 10_000
    """The most passes that a request may ask for."""

    max_rows: Count = 10_000
    """The most rows that a request may send."""

    max_row_samples: Count = 1_000_000
    """The most rows × passes that a request may ask for."""

    max_returned_values: Count = 1_000_000
    """The most rows × samples × outputs that a request may have returned with `return_samples`."""

    max_body_bytes: Count = 16 * 2**20
    """The longest request body that is read."""

    request_timeout: Seconds = 30.0
    """Seconds after which a request is given up and its caller told so; over HTTP, from when it came."""

    drain_timeout: Seconds = 30.0
    """Seconds that requests in flight are given to finish once the service is told to stop."""

    drain_delay: Annotated[float, Field(ge=0)] = 0.0
    """Seconds that the service, told to stop, says it is not ready and goes on answering, until balancers have seen."""

    queue_size: Count = 64
    """How many long requests may wait or be worked on at a time; more are refused at once."""

    max_wait: Seconds = 2.0
    """Seconds that a question may have waited to be read, because others came before it; later ones are refused.
    Not over gRPC, which does not tell when a call came: there the deadlines that callers set bound it."""

    max_connections: Count = 4096
    """Connections that each worker keeps; beyond, who has rested longest goes, or else who comes, with one answer."""

    idle_timeout: Count = 5
    """Whole seconds in which a caller must say what he asks, and take some of his answer, or his connection is closed;
    behind a balancer, more than it keeps connections that rest."""

    inline_seconds: Annotated[float, Field(ge=0)] = 0.001
    """Work expected to take less is done at once on the event loop, together with like work that came with it, up to
    this long; more goes to a thread, in turns."""

    threads: Count = 1
    """Threads that one run of a large network may use; for small networks one is fastest."""

    mask_cache_bytes: Annotated[int, Field(ge=0)] = 64 * 2**20
    """Memory for the masks of seeds in use."""

    prediction_log: Url | Path | None = None
    """Where rows and the answers to them are kept for review: a folder, for Parquet files, or the URL of a database,
    sqlite:///… or postgresql://…; unset: nowhere."""

    prediction_log_inputs: bool = True
    """Whether the rows themselves are kept too; without them a person cannot label, nor a network learn."""

    prediction_log_days: Seconds | None = None
    """Days after which rows of the prediction log are forgotten, with their labels; unset: never."""

    prediction_log_seconds: Seconds = 10.0
    """The longest that an answer waits to be written; a folder gets a file from each worker each time."""

    prediction_log_queue_bytes: Count = 64 * 2**20
    """Memory for answers that wait to be written, in each worker; what does not fit is dropped and counted."""

    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = "info"
    """The least severe messages to log: debug, info, warning or error."""

    access_log: bool = False
    """Log a line a request; those that end in an error of the service are always logged."""

    @property
    def default_samples(self) -> int:
        """Passes of requests that give no number: what is set, or as many as are allowed."""
        return min(self.samples, self.max_samples, self.max_row_samples)

    def to_environment(self) -> dict[str, str]:
        """The variables from which another process reads the same settings."""
        values = self.model_dump(mode="json", exclude_none=True)
        return {
            f"{self.model_config['env_prefix']}{name.upper()}": value if isinstance(value, str) else json.dumps(value)
            for name, value in values.items()
        }


EXAMPLES = {"pins": '{"digits": 1}', "cors_origins": '["https://app.example.org"]'}
"""Of settings in JSON."""

WORDING = {
    "bool_parsing": "expected true or false",
    "float_parsing": "expected a number",
    "greater_than": "expected more than {gt}",
    "greater_than_equal": "expected at least {ge}",
    "int_parsing": "expected a whole number",
    "less_than_equal": "expected at most {le}",
}
"""By pydantic's type of an error; others have pydantic's own."""

SERVICE_LINK = re.compile(r"(.*_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)")
"""What Kubernetes calls variables that it sets for each Service, after the Service's name."""
LINK_URL = re.compile(r"(tcp|udp|sctp)://")
LINK_REMEDY = (
    "Kubernetes sets it for a Service of that name; in the pod's spec write enableServiceLinks: false, or set the "
    "variable in the container's env, or rename the Service"
)


def explain(error: ValidationError) -> dict[str, str]:
    """Return what was expected and what was found, by the setting's name."""
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
    """Variables that look like settings but are none → the setting that each may mean, empty where none is near.

    Those that Kubernetes sets, such as DROPSERVE_SERVICE_HOST for a Service of that name, are none of them.
    """
    prefix = str(Settings.model_config["env_prefix"])
    known = [name.upper() for name in Settings.model_fields]
    found = {}
    for variable in variables:
        name = variable.upper().removeprefix(prefix)
        if variable.upper().startswith(prefix) and name not in known and not SERVICE_LINK.fullmatch(name):
            found[variable] = "".join(prefix + near for near in difflib.get_close_matches(name, known, 1, cutoff=0.75))
    return found
