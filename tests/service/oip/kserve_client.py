"""What KServe's client makes of a server: run by a Python that has kserve, with the server's URL; prints JSON."""

import asyncio
import json
import sys
from typing import Any

import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

ROWS = np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4)
NAMES = ("label", "probabilities", "mutual_information")


async def main(url: str) -> dict[str, Any]:
    """Ask everything that the client can."""
    async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
        return {
            "live": await client.is_server_live(url),
            "ready": await client.is_server_ready(url),
            "toy": await client.is_model_ready(url, "toy"),
            "nobody": await client.is_model_ready(url, "nobody"),
            "json": await ask(client, url, binary=False),
            "binary": await ask(client, url, binary=True),
        }


async def ask(client: Any, url: str, *, binary: bool) -> dict[str, Any]:
    """The outputs by name, as lists."""
    tensor = InferInput("input", list(ROWS.shape), "FP32")
    tensor.set_data_from_numpy(ROWS, binary_data=binary)
    outputs = [RequestedOutput(name, parameters={"binary_data": binary}) for name in NAMES]
    request = InferRequest("toy", [tensor], "mine", parameters={"samples": 8, "seed": 5}, request_outputs=outputs)
    reply = await client.infer(url, request, model_name="toy")
    answers = {output.name: output.as_numpy().tolist() for output in reply.outputs}
    answers["label"] = [text.decode() if isinstance(text, bytes) else text for text in answers["label"]]
    return {"id": reply.id} | answers


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1]))))  # noqa: T201 - the test reads it
