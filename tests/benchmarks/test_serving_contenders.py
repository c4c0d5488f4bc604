"""What a contender is sent is what a server understands, and its answer is what is compared."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import typer

from benchmarks.serving.__main__ import choose
from benchmarks.serving.contenders import (
    CONTENDERS,
    OURS,
    PEERS,
    TURN,
    Contender,
    Request,
    at_commit,
    from_list,
    from_rows,
)
from benchmarks.serving.environments import of_peer, of_tree
from benchmarks.serving.failures import NotRun
from benchmarks.serving.load import Load, on_the_wire, outcome, write_requests
from benchmarks.serving.measuring import VERIFIED_AT_ONCE, same, verify, verify_log
from benchmarks.serving.plan import Plan
from benchmarks.serving.servers import ROOT, Installed, serving
from benchmarks.serving.subjects import CLASSES, PASSES, SUBJECTS, Prepared
from service.engine.masks import draw_masks
from tests.conftest import Serve
from tests.toy import P, ToyNet

SAMPLED = f"/uncertainty, {PASSES} samples"
DROPSERVE = [contender for contender in CONTENDERS if contender.server == OURS]


@pytest.mark.parametrize("contender", DROPSERVE, ids=lambda contender: contender.name)
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
    settings = {name.removeprefix("DROPSERVE_").lower(): value for name, value in contender.settings(tmp_path).items()}
    with serve(models=tmp_path, **settings) as client:
        reply = client.post(contender.path, content=request.body, headers=request.headers)
        without_key = client.post(contender.path, content=request.body, headers=as_sent_without_key(request))
    assert reply.status_code == 200, reply.text
    assert without_key.status_code == (401 if "api_keys" in settings else 200)
    assert same(contender.decode(reply.content), expected)


def as_sent_without_key(request: Request) -> dict[str, str]:
    return {name: value for name, value in request.headers.items() if name != "authorization"}


def test_a_turn_of_the_reference_answers_each_of_its_requests_or_refuses_all(tmp_path: Path) -> None:
    net = ToyNet(outputs=CLASSES)
    rows = net.rows(VERIFIED_AT_ONCE)
    powers = np.exp(net.predict(rows))
    expected = (powers / powers.sum(axis=-1, keepdims=True)).tolist()
    graph = net.publish(tmp_path, name="mlp") / "predict.onnx"
    prepared = Prepared(SUBJECTS["small"], tmp_path, graph, rows.tolist(), {}, tmp_path)
    (reference,) = (contender for contender in CONTENDERS if contender.name == TURN)
    with serving(reference, Installed(Path(sys.executable), ROOT, tmp_path), prepared, 1) as server:
        verify(server, reference, [reference.encode(row) for row in prepared.rows], expected)
        for wrong in (b'{"inputs": [[1]]}', b'{"inputs": [[1], [1, 2]]}', b'{"inputs": [[null]]}', b"["):
            with pytest.raises(NotRun, match="status 422"):
                server.ask("/predict", Request(wrong))


def test_references_run_on_the_versions_that_the_product_runs_on() -> None:
    pinned = of_tree(ROOT).constraints.splitlines()
    assert {package for peer in ("asgi", "asyncio_protocol") for package in of_peer(peer).packages} <= set(pinned)


def test_another_build_is_called_as_ours_is() -> None:
    ours = {(one.path, one.encode, one.decode, one.question) for one in DROPSERVE}
    others = at_commit("1cda6bc")
    assert [one.name for one in others] == ["Dropserve at 1cda6bc /predict", f"Dropserve at 1cda6bc {SAMPLED}"]
    assert {(one.path, one.encode, one.decode, one.question) for one in others} < ours
    assert not {one.server for one in others} & {one.server for one in CONTENDERS}


def test_peers_are_chosen_by_name() -> None:
    assert choose("--peers", "all", PEERS) == list(PEERS)
    assert choose("--peers", "none", PEERS) == []
    assert choose("--peers", "asgi,fastapi", PEERS) == ["asgi", "fastapi"]
    with pytest.raises(typer.BadParameter, match=r"--peers: expected some of .*, found flask"):
        choose("--peers", "asgi,flask", PEERS)


def test_contenders_alternate_and_references_of_one_worker_stay_alone() -> None:
    ours, reference = CONTENDERS[0], next(one for one in CONTENDERS if one.name == TURN)
    turns = list(Plan(["small"], [1, 2], [8, 64], seconds=1, repeats=2).turns([ours, reference]))
    alone = [ours, reference, reference, ours]
    assert turns == [*(("small", 1, one) for one in alone), *[("small", 2, ours)] * 2]


def test_a_log_has_a_whole_line_for_each_answer(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(
        "".join(json.dumps({"path": path}) + "\n" for path in ("/predict", "/readyz", "/predict")) + '{"path": "/pre'
    )
    verify_log(log, "/predict", answers=2)
    with pytest.raises(NotRun, match="its log has 2 requests, of 3 that were answered"):
        verify_log(log, "/predict", answers=3)


def test_peers_answer_a_list_of_rows_with_or_without_a_name() -> None:
    assert from_rows(b'{"probabilities": [[0.25, 0.75]]}') == from_list(b"[[0.25, 0.75]]") == [0.25, 0.75]


def test_other_probabilities_are_not_the_same() -> None:
    assert same([0.3, 0.7], [0.30001, 0.69999])
    assert not same([0.3, 0.7], [0.301, 0.699])
    assert not same([0.7, 0.3], [0.3, 0.7])
    assert not same([0.3], [0.3, 0.7])


def test_requests_lie_in_the_file_with_their_lengths(tmp_path: Path) -> None:
    requests = [contender.encode([0.5, -1.0]) for contender in DROPSERVE]
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
