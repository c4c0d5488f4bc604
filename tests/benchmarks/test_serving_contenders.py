"""What a contender is sent is what a server understands, and its answer is what is compared."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.serving.contenders import CONTENDERS, Contender, from_list, from_rows
from benchmarks.serving.load import Load, on_the_wire, outcome, write_requests
from benchmarks.serving.measuring import same
from benchmarks.serving.subjects import CLASSES, PASSES
from service.engine.masks import draw_masks
from tests.conftest import Serve
from tests.toy import P, ToyNet

OURS = [contender for contender in CONTENDERS if not contender.peer]


@pytest.mark.parametrize("contender", OURS, ids=lambda contender: contender.name)
def test_there_and_back(contender: Contender, serve: Serve, tmp_path: Path) -> None:
    net = ToyNet(outputs=CLASSES)
    net.publish(tmp_path, name="mlp")
    row = [round(value, 4) for value in net.rows(1)[0].tolist()]
    rows = np.array([row], dtype=np.float32)
    masks = draw_masks(0, 0, P, (net.hidden,), 0, PASSES)
    logits = {"predict": net.predict(rows)[None], "uncertainty": net.sample(rows, masks)}
    powers = np.exp(logits[contender.question] / net.manifest().temperature)
    expected = (powers / powers.sum(axis=-1, keepdims=True)).mean(axis=0)[0].tolist()
    request = contender.encode(row)
    with serve(models=tmp_path) as client:
        reply = client.post(contender.path, content=request.body, headers=request.headers)
    assert reply.status_code == 200, reply.text
    assert same(contender.decode(reply.content), expected)


def test_peers_answer_a_list_of_rows_with_or_without_a_name() -> None:
    assert from_rows(b'{"probabilities": [[0.25, 0.75]]}') == from_list(b"[[0.25, 0.75]]") == [0.25, 0.75]


def test_other_probabilities_are_not_the_same() -> None:
    assert same([0.3, 0.7], [0.30001, 0.69999])
    assert not same([0.3, 0.7], [0.301, 0.699])
    assert not same([0.7, 0.3], [0.3, 0.7])
    assert not same([0.3], [0.3, 0.7])


def test_requests_lie_in_the_file_with_their_lengths(tmp_path: Path) -> None:
    requests = [contender.encode([0.5, -1.0]) for contender in OURS]
    write_requests(tmp_path / "requests", 8000, "/predict", requests)
    with (tmp_path / "requests").open("rb") as file:
        for request in requests:
            head, _, body = file.read(int(file.readline())).partition(b"\r\n\r\n")
            start, *headers = head.decode().split("\r\n")
            assert start == "POST /predict HTTP/1.1"
            shown = dict(line.split(": ") for line in headers)
            assert shown == {"host": "127.0.0.1:8000", "content-length": str(len(body)), **request.headers}
            assert body == request.body
        assert file.read() == b""
    assert on_the_wire(8000, "/predict", requests[0]).endswith(requests[0].body)


def test_the_outcome_is_the_last_line_of_what_wrk_says() -> None:
    shown = {"requests": 3000, "seconds": 1.5, "p50_ms": 0.4, "p99_ms": 2.5, "refused": 600, "broken": 2}
    said = f"""Running 2s test @ http://127.0.0.1:8000
  1 threads and 8 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.23ms  456.00us  12.34ms   91.23%
    Req/Sec     2.00k    65.11     2.15k    70.00%
  3000 requests in 1.50s, 1.23MB read
  Non-2xx or 3xx responses: 600
Requests/sec:   2000.00
Transfer/sec:    839.68KB
{json.dumps(shown)}
"""
    load = outcome(said)
    assert load == Load(requests=3000, seconds=1.5, p50_ms=0.4, p99_ms=2.5, refused=600, broken=2)
    assert load.per_second == 1600
