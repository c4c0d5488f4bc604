"""The service as a Ray Serve application: `serve run deploy.ray.app:app`, or by `deploy/ray/serve.yaml`.

There are two deployments: `Ingress` is the ASGI app of `service.http.app` with all its routes, and `Sampler` does
pieces of large requests for it. Small requests are answered by the ingress alone.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator
from ray import serve
from ray.serve import Application
from ray.serve.config import AutoscalingConfig
from ray.serve.handle import DeploymentHandle

from deploy.ray.remote_workers import PIECES_PER_SAMPLER, RayWorkers
from deploy.ray.sampler import Sampler
from service import Settings, create_app
from service.access.calls import ASGIApp
from service.config import Count
from service.telemetry.logs import configure_logging

REQUESTS_PER_INGRESS = 32
"""The average number of requests in flight at an ingress above which another is started."""


class Replicas(BaseModel):
    """The number of replicas of a deployment, and the processors of each."""

    model_config = ConfigDict(extra="forbid")

    min: Count = 1
    max: Count = 4
    num_cpus: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _ordered(self) -> "Replicas":
        if self.max < self.min:
            raise ValueError(f"max: expected at least min, {self.min}, found {self.max}")
        return self

    def options(self, ongoing: float) -> dict[str, Any]:
        """Return the options of Ray Serve; `ongoing` is the target number of requests in flight of a replica."""
        scaling = AutoscalingConfig(
            min_replicas=self.min, initial_replicas=self.min, max_replicas=self.max, target_ongoing_requests=ongoing
        )
        return {"autoscaling_config": scaling, "ray_actor_options": {"num_cpus": self.num_cpus}}


class Arguments(BaseModel):
    """The `args` of the application."""

    model_config = ConfigDict(extra="forbid")

    settings: dict[str, Any] = {}
    """Settings of the service, by the names in docs/settings.md in lower case and without the prefix."""
    ingress: Replicas = Replicas()
    samplers: Replicas = Replicas()


@serve.deployment
@serve.ingress()
class Ingress:
    """Answers HTTP requests."""

    def __init__(self, settings: Settings, samplers: DeploymentHandle, size: int) -> None:
        """Serve with these settings, with at least `size` samplers."""
        configure_logging(settings.log_level)
        self._settings = settings
        self._workers = RayWorkers(samplers, size)

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """Return the ASGI app, for Ray Serve."""
        return create_app(self._settings, self._workers)


def app(args: Arguments) -> Application:
    """Return the application. Raises ValidationError for unknown or invalid arguments and settings."""
    settings = Settings(**{"workers": args.ingress.max} | args.settings)
    samplers = serve.deployment(Sampler).options(
        **args.samplers.options(PIECES_PER_SAMPLER / 2),
        max_ongoing_requests=PIECES_PER_SAMPLER,
        logging_config={"enable_access_log": False},
    )
    ingress = Ingress.options(  # type: ignore[attr-defined]  # Serve made it a deployment
        **args.ingress.options(REQUESTS_PER_INGRESS),
        logging_config={"enable_access_log": False},  # the service has its own
        max_ongoing_requests=10_000,  # the service refuses requests itself, with a reason
        graceful_shutdown_timeout_s=settings.drain_timeout,
    )
    return ingress.bind(settings, samplers.bind(settings), args.samplers.min)
