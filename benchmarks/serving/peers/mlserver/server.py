"""MLServer: a custom runtime, called by the Open Inference Protocol."""

import asyncio

import numpy as np
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse
from mlserver.utils import install_uvloop_event_loop

from benchmarks.serving.peers.task import HOST, PORT, WORKERS, Network, free_port


class Classifier(MLModel):
    """The network."""

    async def load(self) -> bool:
        """Open the network."""
        self.network = Network()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Return the class probabilities."""
        rows = NumpyCodec.decode_input(payload.inputs[0]).astype(np.float32, copy=False)
        output = NumpyCodec.encode_output("probabilities", self.network(rows))
        return InferenceResponse(model_name=self.name, outputs=[output])


async def main() -> None:
    """Serve with one worker in the HTTP server's process, without a queue, or with more processes behind it.

    Adaptive batching is off: at 64 connections it is no faster, and a single caller would wait for its window.
    """
    settings = Settings(
        host=HOST,
        http_port=PORT,
        grpc_port=free_port(),
        parallel_workers=0 if WORKERS == 1 else WORKERS,
        metrics_endpoint=None,
        debug=False,
        load_models_at_startup=False,
    )
    model = ModelSettings(name="mlp", implementation="benchmarks.serving.peers.mlserver.server.Classifier")
    await MLServer(settings).start([model])


if __name__ == "__main__":
    install_uvloop_event_loop()
    asyncio.run(main())
