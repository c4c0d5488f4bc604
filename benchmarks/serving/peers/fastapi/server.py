"""FastAPI as in its tutorial: a pydantic body, and a handler with `def` or `async def`."""

import numpy as np
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from benchmarks.serving.peers.task import HOST, PORT, WORKERS, Network


class Rows(BaseModel):
    """A request's body."""

    inputs: list[list[float]]


class Answer(BaseModel):
    """The reply's body."""

    probabilities: list[list[float]]


app = FastAPI()
network = Network()


@app.post("/predict")
def predict(rows: Rows) -> Answer:
    """Answer in a thread of Starlette's pool."""
    return Answer(probabilities=network(np.array(rows.inputs, dtype=np.float32)).tolist())


@app.post("/predict_async")
async def predict_async(rows: Rows) -> Answer:
    """Answer on the event loop."""
    return Answer(probabilities=network(np.array(rows.inputs, dtype=np.float32)).tolist())


if __name__ == "__main__":
    uvicorn.run(
        "benchmarks.serving.peers.fastapi.server:app",
        host=HOST,
        port=PORT,
        workers=WORKERS,
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
    )
