"""The service's settings: from the environment (`DROPSERVE_…`), never read when a module is imported."""

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0)]


class Settings(BaseSettings):
    """Every setting has a default that works; the environment variable is `DROPSERVE_` and its name."""

    model_config = SettingsConfigDict(
        env_prefix="DROPSERVE_", frozen=True, extra="forbid", use_attribute_docstrings=True, env_ignore_empty=True
    )

    models: Path = Path("models")
    """The folder of published models, `<name>/<version>/`."""

    default_model: str | None = None
    """The model that `/predict` and `/uncertainty` ask when none is named; unset: the first by name."""

    host: str = "127.0.0.1"
    """The address to listen on; 0.0.0.0 for all of the machine's."""

    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """The port to listen on; 0 takes a free one."""

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

    max_body_bytes: Count = 16 * 2**20
    """The longest request body that is read."""

    request_timeout: Seconds = 30.0
    """Seconds after which a request is given up and its caller told so."""

    drain_timeout: Seconds = 30.0
    """Seconds that requests in flight are given to finish once the service is told to stop."""

    queue_size: Count = 64
    """How many long requests may wait or be worked on at a time; more are refused at once."""

    inline_seconds: Annotated[float, Field(ge=0)] = 0.002
    """Work expected to take less is done at once on the event loop; more goes to a thread, in turns."""

    threads: Count = 1
    """Threads that one run of a large network may use; for small networks one is fastest."""

    mask_cache_bytes: Annotated[int, Field(ge=0)] = 64 * 2**20
    """Memory for the masks of seeds in use."""

    log_level: Annotated[str, Field(pattern="^(debug|info|warning|error)$")] = "info"
    """The least severe messages to log: debug, info, warning or error."""
