"""Serve the committed models with the packages of this Python, and call each interface once.

`make lowest` runs it with the lowest version of every package that pyproject.toml allows for serving.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from time import monotonic, sleep
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import grpc
import typer

from service.oip.proto import open_inference_pb2 as pb

MODEL = "digits"
ROW = [0.0] * 64
SAMPLES = 10
SECONDS = 60
"""Timeout of a call, and of loading the models."""
LISTENS = re.compile(r"running on (http://\S+)")
GRPC_LISTENS = re.compile(r'"port":(\d+),"event":"gRPC listens"')
SHOWN = ("fastapi", "msgspec", "numpy", "onnxruntime", "pydantic", "typer", "uvicorn", "httptools", "grpcio")


def main() -> None:
    """Call the service; an answer that is not as expected ends in an exception, and exit code 1."""
    typer.echo(" ".join([f"Python {sys.version.split()[0]}", *(f"{name}=={version(name)}" for name in SHOWN)]))
    with running() as (url, grpc_address):
        wait_until_ready(url)
        for check in (check_predict, check_uncertainty, check_v2, check_pages):
            check(url)
            typer.echo(f"answers: {check.__name__.removeprefix('check_')}")
        check_grpc(grpc_address)
        typer.echo("answers: grpc")


def check_predict(url: str) -> None:
    """Expect one prediction for one row."""
    assert len(call(f"{url}/predict", {"inputs": [ROW]})["predictions"]) == 1


def check_uncertainty(url: str) -> None:
    """Expect the asked number of samples."""
    answer = call(f"{url}/uncertainty", {"inputs": [ROW], "samples": SAMPLES, "seed": 7})
    assert answer["samples"] == SAMPLES
    assert answer["predictions"][0]["mutual_information"] >= 0


def check_v2(url: str) -> None:
    """Expect the output tensors of the Open Inference Protocol."""
    tensor = {"name": "input", "datatype": "FP32", "shape": [1, len(ROW)], "data": ROW}
    assert call(f"{url}/v2/models/{MODEL}/infer", {"inputs": [tensor]})["outputs"]


def check_pages(url: str) -> None:
    """Expect the description of the API, which names the inference routes."""
    assert "/uncertainty" in call(f"{url}/openapi.json")["paths"]


def check_grpc(address: str) -> None:
    """Expect the output tensors of the Open Inference Protocol over gRPC."""
    tensor = pb.ModelInferRequest.InferInputTensor(name="input", datatype="FP32", shape=[1, len(ROW)])
    tensor.contents.fp32_contents.extend(ROW)
    with grpc.insecure_channel(address) as channel:
        infer = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelInferResponse.FromString,
        )
        assert infer(pb.ModelInferRequest(model_name=MODEL, inputs=[tensor]), timeout=SECONDS).outputs


def call(url: str, body: dict[str, Any] | None = None) -> Any:
    """Return the JSON that a URL answers with, to a POST where there is a body."""
    content = None if body is None else json.dumps(body).encode()
    with urlopen(Request(url, content, {"content-type": "application/json"}), timeout=SECONDS) as reply:
        return json.load(reply)


@contextmanager
def running() -> Iterator[tuple[str, str]]:
    """Run the service on free ports; its URL, and the address of gRPC."""
    command = [sys.executable, "-m", "service", "serve", "--port", "0"]
    environment = os.environ | {"DROPSERVE_GRPC_PORT": "0"}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield addresses(process)
        finally:
            process.terminate()


def addresses(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Read the service's log until it listens; return its URL and the address of gRPC.

    Raises RuntimeError with the log where the service ends before.
    """
    assert process.stderr is not None
    log = ""
    for line in process.stderr:
        log += line
        if listens := LISTENS.search(log):
            return listens[1], f"127.0.0.1:{GRPC_LISTENS.findall(log)[0]}"
    raise RuntimeError(log)


def wait_until_ready(url: str) -> None:
    """Wait until the models are loaded. Raises the last refusal after SECONDS."""
    until = monotonic() + SECONDS
    while True:
        try:
            call(f"{url}/readyz")
        except HTTPError:
            if monotonic() > until:
                raise
            sleep(0.1)
        else:
            return


if __name__ == "__main__":
    main()
