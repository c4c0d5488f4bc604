"""Ray Serve: a proxy, and replicas behind it."""

import os

os.environ |= {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    "RAY_SERVE_LOG_TO_STDERR": "0",
}

import numpy as np
import ray
from ray import serve
from starlette.requests import Request

from benchmarks.serving.peers.task import HOST, PORT, WORKERS, Network


class Classifier:
    """The network on the bare request, without FastAPI.

    Without batching: nearly all the time is spent on the way to the replica, which each request would still take alone.
    """

    def __init__(self) -> None:
        """Open the network."""
        self.network = Network()

    async def __call__(self, request: Request) -> dict[str, list[list[float]]]:
        """Return the class probabilities."""
        body = await request.json()
        return {"probabilities": self.network(np.array(body["inputs"], dtype=np.float32)).tolist()}


if __name__ == "__main__":
    ray.init(include_dashboard=False, log_to_driver=False, configure_logging=False)
    serve.start(http_options={"host": HOST, "port": PORT}, logging_config={"enable_access_log": False})
    deployment = serve.deployment(Classifier, num_replicas=WORKERS, max_ongoing_requests=100)
    serve.run(deployment.bind(), route_prefix="/predict", blocking=True)
