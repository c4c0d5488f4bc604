"""What waits for a person, listed, and what he says of it, taken; over HTTP, from live servers."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openapi_spec_validator import validate

from service.access.keys import SCOPES, make_key, needed_scope
from service.api import schemas
from service.review.opening import open_store
from tests.conftest import Serve, wait_until
from tests.service.review.places import Place, Postgres
from tests.service.review.test_log import EVERYTHING, logged
from tests.toy import ToyNet

Json = dict[str, Any]


@pytest.fixture
def client(serve: Serve, models: Path, place: Place | Postgres, toy: ToyNet) -> Iterator[httpx.Client]:
    """Of a service that has answered 40 rows of a classification and 2 of a regression."""
    with serve(models=models, prediction_log=place.where, prediction_log_seconds=0.05) as client:
        for path, rows in (("/uncertainty", 40), ("/v1/models/yield/uncertainty", 2)):
            client.post(path, json={"inputs": toy.rows(rows).tolist(), "samples": 20}).raise_for_status()
        wait_until(lambda: logged(client, "written") == 42)
        yield client


def rows_of(client: httpx.Client, **asked: Any) -> list[Json]:
    return client.get("/v1/review", params=asked).raise_for_status().json()["rows"]  # type: ignore[no-any-return]


def error_of(response: httpx.Response, status: int) -> Json:
    assert response.status_code == status
    schemas.ErrorReply.model_validate(response.json())
    return response.json()["error"]  # type: ignore[no-any-return]


def test_what_was_referred_is_listed_by_pages(client: httpx.Client, toy: ToyNet) -> None:
    answers = client.post("/uncertainty", json={"inputs": toy.rows(40).tolist(), "samples": 20}).json()["predictions"]
    referred = [answer["mutual_information"] for answer in answers if answer["decision"] == "refer"]
    wait_until(lambda: logged(client, "written") == 82)
    found: list[Json] = []
    after: dict[str, str] = {}
    while True:
        page = client.get("/v1/review", params={"order": "information", "limit": 7, **after}).json()
        schemas.ReviewPage.model_validate(page)
        found += page["rows"]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert [row["mutual_information"] for row in found] == sorted(referred * 2, reverse=True)
    assert {row["decision"] for row in found} == {"refer"}
    times = [row["time"] for row in rows_of(client, limit=1000)]
    assert times == sorted(times, reverse=True)
    assert rows_of(client, model="yield") == []
    assert len(rows_of(client, model="yield", decision="any")) == 2
    answer = client.post("/predict", json={"inputs": [found[0]["inputs"]]}).json()["predictions"][0]
    assert answer == found[0]["answer"]["deterministic"]


def test_a_label_is_kept_and_may_be_corrected(client: httpx.Client) -> None:
    first, second = (row["id"] for row in rows_of(client)[:2])
    before = len(rows_of(client, limit=1000))
    said = [("b", "ann"), ("b", "ann"), ("c", "bob"), ("c", "bob"), ("b", "ann")]
    for label, by in said:
        row = client.post(f"/v1/review/{first}", json={"label": label, "by": by}).raise_for_status().json()
        schemas.ReviewRow.model_validate(row)
        assert row["label"] == label
        assert client.get(f"/v1/review/{first}").json() == row
    expected = [one for one, _ in itertools.groupby(said)]  # the same again changes nothing
    assert [(one["label"], one["by"]) for one in row["history"]] == expected
    assert all(one["key"] is None and one["time"] >= row["time"] for one in row["history"])
    assert first not in {one["id"] for one in rows_of(client, limit=1000)}
    assert len(rows_of(client, limit=1000)) == before - 1
    assert [one["id"] for one in rows_of(client, state="labelled")] == [first]
    assert client.get(f"/v1/review/{second}").json()["label"] is None


def test_the_label_of_a_regression_is_a_number(client: httpx.Client) -> None:
    found = rows_of(client, model="yield", decision="any")[0]["id"]
    assert client.post(f"/v1/review/{found}", json={"label": 3}).json()["label"] == [3.0]
    assert client.post(f"/v1/review/{found}", json={"label": [2.5]}).json()["label"] == [2.5]
    for wrong in ("a", [1.0, 2.0], [], ["a"], 10**400, [10**400]):
        error = error_of(client.post(f"/v1/review/{found}", json={"label": wrong}), 422)
        assert error["details"]["field"].startswith("label")


@pytest.mark.parametrize("place", ["parquet"], indirect=True)
@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"label": "z"}, 422, "label: expected one of a, b, c; found 'z'"),
        ({"label": 1}, 422, "label: expected one of a, b, c; found 1.0"),
        ({"label": 10**400}, 422, "label"),
        ({"label": "a", "by": "x\0"}, 422, "by: expected a name of 1 to 100 characters, none of them NUL"),
        ({"label": None}, 422, "label"),
        ({}, 422, "label"),
        ({"label": "a", "by": ""}, 422, "by: expected a name of 1 to 100 characters"),
        ({"label": "a", "by": "x" * 101}, 422, "by: expected a name of 1 to 100 characters"),
        ({"label": "a", "mood": "good"}, 422, "mood"),
        ([], 400, "object"),
    ],
)
def test_what_is_no_label_is_refused(client: httpx.Client, body: Any, status: int, message: str) -> None:
    found = rows_of(client)[0]["id"]
    assert message in error_of(client.post(f"/v1/review/{found}", json=body), status)["message"]
    assert client.get(f"/v1/review/{found}").json()["history"] == []


def test_what_no_database_takes_is_a_mistake_of_the_caller(client: httpx.Client) -> None:
    for wrong in ({"after": "a\0"}, {"model": "a\0"}):
        assert error_of(client.get("/v1/review", params=wrong), 422)["details"]["field"] == next(iter(wrong))
    found = rows_of(client)[0]["id"]
    error_of(client.post(f"/v1/review/{found}", json={"label": "a", "by": "a\0"}), 422)


@pytest.mark.parametrize("place", ["parquet"], indirect=True)
def test_other_mistakes_are_told_in_form(client: httpx.Client) -> None:
    assert error_of(client.get("/v1/review/nobody"), 404)["code"] == "unknown_prediction"
    assert error_of(client.post("/v1/review/nobody", json={"label": "a"}), 404)["code"] == "unknown_prediction"
    found = rows_of(client)[0]["id"]
    text = {"content-type": "text/plain"}
    error_of(client.post(f"/v1/review/{found}", content="a", headers=text), 415)
    error_of(client.post(f"/v1/review/{found}", content="{"), 400)
    error_of(client.post(f"/v1/review/{found}", content=b'"%s"' % (b"x" * 2**17)), 413)
    error_of(client.put(f"/v1/review/{found}"), 405)
    for wrong in ({"limit": 0}, {"limit": 1001}, {"order": "oldest"}, {"state": "x"}, {"after": "nobody"}):
        assert error_of(client.get("/v1/review", params=wrong), 422)["details"]["field"] == next(iter(wrong))


@pytest.mark.parametrize("place", ["parquet"], indirect=True)
def test_a_parameter_that_there_is_not_is_named(client: httpx.Client) -> None:
    assert error_of(client.get("/v1/review", params={"modle": "toy"}), 422)["details"]["field"] == "modle"


def test_it_is_described_where_there_is_a_log(client: httpx.Client, serve: Serve, models: Path) -> None:
    api = client.get("/openapi.json").json()
    validate(api)
    assert {"get"} == set(api["paths"]["/v1/review"])
    assert {"get", "post"} == set(api["paths"]["/v1/review/{id}"])
    with serve(models=models) as without:
        assert "/v1/review" not in without.get("/openapi.json").json()["paths"]
        for asked in (without.get("/v1/review?limit=1"), without.get("/v1/review/1"), without.post("/v1/review/1")):
            assert error_of(asked, 404)["code"] == "unknown_path"
            assert "DROPSERVE_PREDICTION_LOG, its folder or URL" in error_of(asked, 404)["message"]


def test_it_needs_a_key_of_its_scope(serve: Serve, models: Path, tmp_path: Path) -> None:
    """What others asked is not for everybody who may ask."""
    made = {scope: make_key(f"the-{scope}", scope) for scope in SCOPES}
    (tmp_path / "keys").write_text("\n".join(stored.line() for _, stored in made.values()))
    where = tmp_path / "log"
    with serve(models=models, prediction_log=where, prediction_log_seconds=0.05, api_keys=tmp_path / "keys") as client:

        def status(method: str, path: str, scope: str, **body: Any) -> int:
            headers = {"authorization": f"Bearer {made[scope][0]}"}
            return client.request(method, path, headers=headers, **body).status_code

        asked = {"inputs": [[0.0] * 4], "samples": 10}
        assert status("POST", "/uncertainty", "review", json=asked) == 200
        wait_until(lambda: bool(list(open_store(where).select(EVERYTHING))))
        found = f"/v1/review/{open_store(where).select(EVERYTHING)[0].row.id}"
        for method, path in (("GET", "/v1/review"), ("GET", found), ("POST", found)):
            body: Json = {"json": {"label": "a"}} if method == "POST" else {}
            assert client.request(method, path, **body).status_code == 401
            assert [status(method, path, scope, **body) for scope in made] == [403, 200, 200]
        assert status("POST", "/v1/models/toy/unload", "review") == 403
    entry = open_store(where).find(found.rpartition("/")[2])
    assert entry
    assert [label.key for label in entry.labels] == ["the-review", "the-admin"]


@pytest.mark.parametrize("path", ["/v1/review/x/y", "/v1/reviews", "/v1/review/"])
def test_paths_that_only_look_like_it_need_all(path: str) -> None:
    assert needed_scope(path) == "admin"
