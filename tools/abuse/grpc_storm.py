"""Send damaged messages to the real gRPC server, and record the status of each."""

import random
from collections.abc import Callable
from time import perf_counter

import grpc

from tools.abuse.mutations import mutate
from tools.abuse.parsers import PARSERS
from tools.abuse.storm import DEADLINE, Outcome

METHODS = ("ModelInfer", "ModelInfer", "ModelInfer", "ModelMetadata", "ModelReady", "RepositoryIndex", "ServerMetadata")
BY_RULE = {
    *(grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNAVAILABLE),
    *(grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.PERMISSION_DENIED),
}
"""Statuses that are allowed."""


def grpc_storm(address: str, key: str, inputs: int, seed: int = 0) -> Outcome:
    """Send so many messages in sequence, with a valid key."""
    outcome = Outcome()
    rng = random.Random(seed)
    seeds = PARSERS["v2, protobuf"].seeds
    with grpc.insecure_channel(address) as channel:
        methods: dict[str, Callable[..., bytes]] = {
            name: channel.unary_unary(f"/inference.GRPCInferenceService/{name}", bytes, bytes) for name in set(METHODS)
        }
        for _ in range(inputs):
            content = mutate(rng.choice(seeds), rng)
            started = perf_counter()
            try:
                methods[rng.choice(METHODS)](content, timeout=DEADLINE, metadata=[("x-api-key", key)])
                status = grpc.StatusCode.OK
            except grpc.RpcError as error:
                status = error.code()
            outcome.note(status.name, perf_counter() - started)
            if status not in BY_RULE:
                outcome.faults.append(f"{status.name}: {content!r}")
    return outcome
