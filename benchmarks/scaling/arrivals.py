"""An open loop: requests arrive at random times, whether or not earlier ones are answered."""

import asyncio
import re
from collections import deque
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from benchmarks.serving.failures import NotRun

LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
HOST = "127.0.0.1"

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def arrive(port: int, request: bytes, rate: float, seconds: float, seed: int) -> NDArray[np.float64]:
    """Return the seconds from each request's due time to its answer; arrivals are Poisson, `rate` a second.

    Raises NotRun if one is answered with another status than 200.
    """
    due = np.cumsum(np.random.default_rng(seed).exponential(1 / rate, int(rate * seconds)))
    return np.array(asyncio.run(_all(port, request, due)))


async def _all(port: int, request: bytes, due: NDArray[np.float64]) -> list[float]:
    idle: deque[Connection] = deque()
    start = perf_counter()
    tasks = []
    for moment in due:
        await asyncio.sleep(max(0.0, start + moment - perf_counter()))
        tasks.append(asyncio.create_task(_one(port, request, start + moment, idle)))
    try:
        return await asyncio.gather(*tasks)
    finally:
        for _, writer in idle:
            writer.close()


async def _one(port: int, request: bytes, due: float, idle: deque[Connection]) -> float:
    reader, writer = idle.pop() if idle else await asyncio.open_connection(HOST, port)
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = LENGTH.search(head)
    if not head.startswith(b"HTTP/1.1 200") or length is None:
        raise NotRun(f"answered with {head[:80]!r}")
    await reader.readexactly(int(length[1]))
    idle.append((reader, writer))
    return perf_counter() - due
