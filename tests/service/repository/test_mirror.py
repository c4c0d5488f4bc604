"""A store behind a URL: what is fetched, what is refused, and what goes on when the store does not answer."""

import http.server
import json
import resource
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import fsspec
import pytest

from service.engine.masks import MaskCache
from service.errors import NotReady
from service.model.manifest import GOLDEN, MANIFEST, PREDICT_GRAPH, SAMPLE_GRAPH
from service.repository.documents import BEHAVIOUR, MAX_DOCUMENT_BYTES
from service.repository.folder import Identity
from service.repository.mirror import Mirror, StoreUnreachable, without_secrets
from service.repository.repository import Repository
from tests.conftest import Serve, wait_until
from tests.toy import ToyNet

ONE = Identity("toy", 1)


@pytest.fixture
def models(toy: ToyNet, tmp_path: Path) -> Path:
    """A folder with toy/1, to be changed."""
    toy.publish(tmp_path / "models")
    return tmp_path / "models"


@pytest.fixture
def memory(models: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The same in a store in memory, and the URL of it."""
    store = fsspec.filesystem("memory")
    store.put(f"{models}/toy", "/models/toy", recursive=True)
    yield store
    store.rm("/models", recursive=True)


URL = "memory://models"


class Silent(http.server.SimpleHTTPRequestHandler):
    forbidden = frozenset({f"/locked/1/{MANIFEST}"})

    def log_message(self, *args: Any) -> None: ...

    def do_GET(self) -> None:
        if self.path in self.forbidden:
            self.send_error(403)
        else:
            super().do_GET()


@pytest.fixture
def web(models: Path) -> Iterator[http.server.ThreadingHTTPServer]:
    """The folder behind a real HTTP server."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=str(models)))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def address(server: http.server.ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_port}"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def open_mirrored(mirror: Mirror) -> Repository:
    repository = Repository(mirror.folder, MaskCache(0), mirror=mirror)
    repository.refresh()
    return repository


@pytest.mark.parametrize("kind", ["memory", "file", "http"])
def test_the_folder_follows_the_store(
    kind: str, memory: Any, web: http.server.ThreadingHTTPServer, models: Path, tmp_path: Path
) -> None:
    url = {"memory": URL, "file": models.as_uri(), "http": address(web)}[kind]
    mirror = Mirror(url, tmp_path / "cache")
    mirror.sync()
    assert contents(mirror.folder) == contents(models)
    assert mirror.failures == {}


def test_a_new_version_comes_and_an_old_one_goes(web: Any, models: Path, tmp_path: Path) -> None:
    mirror = Mirror(address(web), tmp_path / "cache")
    repository = open_mirrored(mirror)
    ToyNet(seed=1).publish(models, version=2)
    repository.refresh()
    assert repository.find().manifest.version == 2
    shutil.rmtree(models / "toy" / "1")
    repository.refresh()
    assert repository.models() == {"toy": [2]}
    assert contents(mirror.folder) == contents(models)


def test_a_replaced_version_is_fetched_again(memory: Any, models: Path, tmp_path: Path) -> None:
    mirror = Mirror(URL, tmp_path / "cache")
    repository = open_mirrored(mirror)
    before = repository.find()
    folder = ToyNet(seed=9).publish(tmp_path / "new")
    memory.put(f"{folder}/*", "/models/toy/1/")
    repository.refresh()
    assert repository.find() is not before
    assert contents(mirror.folder / "toy" / "1") == contents(folder)


@pytest.mark.parametrize("name", [PREDICT_GRAPH, SAMPLE_GRAPH, GOLDEN])
def test_what_is_damaged_never_reaches_the_folder(memory: Any, models: Path, tmp_path: Path, name: str) -> None:
    folder = ToyNet(seed=1).publish(models, version=2)
    content = bytearray((folder / name).read_bytes())
    content[50] ^= 1
    (folder / name).write_bytes(content)
    memory.put(f"{folder}/*", "/models/toy/2/")
    mirror = Mirror(URL, tmp_path / "cache")
    repository = open_mirrored(mirror)
    assert repository.find().manifest.version == 1
    assert f"{URL}/toy/2/{name}: is damaged" in repository.status()["failures"]["toy/2"]
    assert not (mirror.folder / "toy" / "2").exists()


def test_a_damaged_replacement_leaves_the_old_one_serving(memory: Any, tmp_path: Path) -> None:
    mirror = Mirror(URL, tmp_path / "cache")
    repository = open_mirrored(mirror)
    before = repository.find()
    kept = contents(mirror.folder)
    folder = ToyNet(seed=9).publish(tmp_path / "new")
    (folder / GOLDEN).write_bytes(b"damaged")
    memory.put(f"{folder}/*", "/models/toy/1/")
    repository.refresh()
    assert repository.find() is before
    assert "golden.npz: is damaged" in repository.status()["failures"]["toy/1"]
    assert contents(mirror.folder) == kept


def test_an_incomplete_upload_is_reported_and_then_fetched(web: Any, models: Path, tmp_path: Path) -> None:
    folder = ToyNet(seed=1).publish(models, version=2)
    manifest = (folder / MANIFEST).read_bytes()
    (folder / MANIFEST).unlink()
    repository = open_mirrored(Mirror(address(web), tmp_path / "cache"))
    assert "manifest.json: no such file" in repository.status()["failures"]["toy/2"]
    (folder / MANIFEST).write_bytes(manifest)
    repository.refresh()
    assert repository.find().manifest.version == 2
    assert repository.status()["failures"] == {}


def test_a_damaged_cache_is_mended(memory: Any, models: Path, tmp_path: Path) -> None:
    mirror = Mirror(URL, tmp_path / "cache")
    mirror.sync()
    (mirror.folder / "toy" / "1" / PREDICT_GRAPH).write_bytes(b"damaged")
    Mirror(URL, tmp_path / "cache").sync()
    assert contents(mirror.folder) == contents(models)


@pytest.mark.parametrize("lost", ["toy", "toy/1", f"toy/1/{MANIFEST}", f"toy/1/{GOLDEN}"])
def test_a_wiped_cache_is_filled_again(memory: Any, models: Path, tmp_path: Path, lost: str) -> None:
    mirror = Mirror(URL, tmp_path / "cache")
    repository = open_mirrored(mirror)
    gone = mirror.folder / lost
    gone.unlink() if gone.is_file() else shutil.rmtree(gone)
    repository.refresh()
    assert contents(mirror.folder) == contents(models)
    repository.check_ready()


def test_a_truncated_file_of_the_cache_is_mended_while_running(memory: Any, models: Path, tmp_path: Path) -> None:
    mirror = Mirror(URL, tmp_path / "cache")
    mirror.sync()
    (mirror.folder / "toy" / "1" / GOLDEN).write_bytes(b"")
    mirror.sync()
    assert contents(mirror.folder) == contents(models)


def test_what_is_in_place_is_not_fetched_again(memory: Any, tmp_path: Path) -> None:
    mirror = Mirror(URL, tmp_path / "cache")
    mirror.sync()
    before = (mirror.folder / "toy" / "1" / MANIFEST).stat()
    mirror.sync()
    assert (mirror.folder / "toy" / "1" / MANIFEST).stat() == before


def test_one_object_that_is_forbidden_refuses_its_version_only(web: Any, models: Path, tmp_path: Path) -> None:
    ToyNet().publish(models, name="locked")
    repository = open_mirrored(Mirror(address(web), tmp_path / "cache"))
    assert repository.models()["toy"] == [1]
    reasons = repository.catalogue.failures
    assert list(reasons) == ["locked/1"]
    assert f"{address(web)}/locked/1/{MANIFEST}: cannot be fetched: 403" in reasons["locked/1"]


def test_no_secret_is_in_the_failure_of_a_version(web: Any, models: Path, tmp_path: Path) -> None:
    ToyNet().publish(models, name="locked")
    mirror = Mirror(address(web).replace("//", "//user:secret@"), tmp_path / "cache")
    mirror.sync()
    assert "cannot be fetched" in mirror.failures[Identity("locked", 1)]
    assert "secret" not in mirror.failures[Identity("locked", 1)]


def test_a_cache_that_cannot_be_written_is_no_fault_of_the_store(memory: Any, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("not a folder")
    repository = open_mirrored(Mirror(URL, tmp_path / "cache"))
    assert list(repository.catalogue.failures) == ["toy/1"]
    assert f"the cache {tmp_path}" in repository.catalogue.failures["toy/1"]


def test_a_disk_that_takes_no_more_is_no_fault_of_the_store(memory: Any, tmp_path: Path) -> None:
    """By a limit of this process, above what it logs, which fails a write in the same way as a full disk."""
    folder = ToyNet(hidden=100_000).publish(tmp_path / "large")
    memory.put(f"{folder}/*", "/models/toy/1/")
    mirror = Mirror(URL, tmp_path / "cache")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, limits[1]))
    try:
        mirror.sync()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert mirror.failures[ONE] == f"the cache {mirror.folder} cannot be written: File too large"
    mirror.sync()
    assert mirror.failures == {}


def test_a_model_that_the_store_does_not_list_holds_up_no_other(
    memory: Any, toy: ToyNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.put(str(toy.publish(tmp_path / "other", name="locked").parent), "/models/locked", recursive=True)
    listed, denied = memory.ls, "locked"

    def ls(_: Any, path: str, **options: Any) -> Any:
        if path.endswith(f"/{denied}"):
            raise PermissionError("access denied")
        return listed(path, **options)

    monkeypatch.setattr(type(memory), "ls", ls)
    repository = open_mirrored(Mirror(URL, tmp_path / "cache"))
    assert repository.models() == {"toy": [1]}
    assert repository.status()["failures"] == {"locked": "cannot be listed: access denied"}
    denied = "toy"  # what was fetched of it stays
    repository.refresh()
    assert repository.models() == {"locked": [1], "toy": [1]}
    assert repository.status()["failures"] == {"toy": "cannot be listed: access denied"}
    denied = ""


def test_a_store_that_is_away_takes_nothing_away(web: Any, models: Path, tmp_path: Path) -> None:
    mirror = Mirror(address(web), tmp_path / "cache")
    repository = open_mirrored(mirror)
    before = repository.find()
    web.shutdown()
    web.server_close()
    repository.refresh()
    assert repository.find() is before
    assert list(repository.status()["failures"]) == [address(web)]
    restarted = open_mirrored(Mirror(address(web), tmp_path / "cache"))
    assert restarted.find().manifest.version == 1


def test_a_store_that_is_suddenly_empty_is_not_believed(memory: Any, models: Path, tmp_path: Path) -> None:
    repository = open_mirrored(Mirror(URL, tmp_path / "cache"))
    memory.rm("/models/toy", recursive=True)
    memory.pipe("/models/login.html", b"please log in")
    repository.refresh()
    assert repository.find().manifest.version == 1
    assert repository.status()["failures"] == {URL: "it has no model"}


def test_not_ready_until_the_store_is_there(tmp_path: Path, models: Path) -> None:
    away = tmp_path / "away"
    models.rename(away)
    repository = open_mirrored(Mirror(models.as_uri(), tmp_path / "cache"))
    with pytest.raises(NotReady, match=f"there is no model in {models.as_uri()}: .*No such file"):
        repository.check_ready()
    away.rename(models)
    repository.refresh()
    repository.check_ready()


def test_a_model_that_is_too_large_is_not_fetched(web: Any, models: Path, tmp_path: Path) -> None:
    mirror = Mirror(address(web), tmp_path / "cache", max_bytes=3000)
    mirror.sync()
    assert "expected at most" in mirror.failures[ONE]
    assert contents(mirror.folder) == {}


def test_only_what_may_be_a_model_is_fetched(memory: Any, models: Path, tmp_path: Path) -> None:
    for path in (
        "..%2f/1/x",
        ".hidden/1/x",
        "toy/latest/x",
        "toy/01/x",
        "toy/0/x",
        "toy/..1/x",
        "a b/1/x",
        "README",
        f"toy/{'9' * 5000}/x",
    ):
        memory.pipe(f"/models/{path}", b"")
    mirror = Mirror(URL, tmp_path / "cache")
    mirror.sync()
    assert contents(mirror.folder) == contents(models)


@pytest.mark.parametrize("name", ["../../../secret", "/tmp/secret", "a/b", ".."])
def test_no_file_is_written_elsewhere(memory: Any, models: Path, tmp_path: Path, name: str) -> None:
    manifest = json.loads((models / "toy" / "1" / MANIFEST).read_text())
    manifest["files"][name] = "0" * 64
    memory.pipe(f"/models/toy/1/{MANIFEST}", json.dumps(manifest).encode())
    mirror = Mirror(URL, tmp_path / "cache")
    mirror.sync()
    assert "files" in mirror.failures[ONE]
    assert contents(tmp_path / "cache") == {}


def test_a_kind_of_store_that_is_not_known(tmp_path: Path) -> None:
    with pytest.raises(StoreUnreachable, match="gopher"):
        Mirror("gopher://models", tmp_path).sync()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:secret@host:1/models?sig=secret#secret", "https://host:1/models"),
        ("s3://bucket/models", "s3://bucket/models"),
    ],
)
def test_no_secret_is_in_the_location(url: str, shown: str) -> None:
    assert without_secrets(url) == shown


def test_no_secret_is_in_an_error(tmp_path: Path, web: Any) -> None:
    mirror = Mirror(address(web).replace("//", "//user:secret@") + "/nowhere?sig=hidden", tmp_path)
    with pytest.raises(StoreUnreachable) as failure:
        mirror.sync()
    assert "nowhere" in str(failure.value)
    assert "secret" not in str(failure.value)
    assert "hidden" not in str(failure.value)


def test_a_server_of_a_store(serve: Serve, web: Any, models: Path, tmp_path: Path) -> None:
    with serve(models=address(web), cache=tmp_path / "cache", poll_seconds=0.05) as client:
        assert client.get("/readyz").json()["models"] == {"toy": [1]}
        ToyNet(seed=1).publish(models, version=2)
        wait_until(lambda: client.post("/predict", json={"inputs": [[0] * 4]}).json()["version"] == 2)


# behaviour reports


@pytest.mark.parametrize("kind", ["memory", "file", "http"])
def test_a_report_follows_the_store_though_no_manifest_lists_it(
    kind: str, memory: Any, web: http.server.ThreadingHTTPServer, models: Path, tmp_path: Path
) -> None:
    url = {"memory": URL, "file": models.as_uri(), "http": address(web)}[kind]
    store = fsspec.filesystem("memory") if kind == "memory" else fsspec.filesystem("file")
    report = f"/models/toy/1/{BEHAVIOUR}" if kind == "memory" else str(models / "toy" / "1" / BEHAVIOUR)
    mirror = Mirror(url, tmp_path / "cache")
    repository = open_mirrored(mirror)
    engine = repository.find()
    copy = mirror.folder / "toy" / "1" / BEHAVIOUR
    for content in (b"one", b"another"):
        store.pipe_file(report, content)
        repository.refresh()
        assert copy.read_bytes() == content
    store.rm_file(report)
    repository.refresh()
    assert not copy.exists()
    assert repository.find() is engine  # no model was loaded for it


def test_a_report_is_fetched_once(models: Path, tmp_path: Path) -> None:
    (models / "toy" / "1" / BEHAVIOUR).write_bytes(b"one")
    mirror = Mirror(models.as_uri(), tmp_path / "cache")
    mirror.sync()
    copy = mirror.folder / "toy" / "1" / BEHAVIOUR
    before = copy.stat()
    mirror.sync()
    assert (copy.stat().st_ino, copy.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_report_that_is_too_long_holds_nothing_up(models: Path, tmp_path: Path) -> None:
    with (models / "toy" / "1" / BEHAVIOUR).open("wb") as file:
        file.truncate(MAX_DOCUMENT_BYTES + 1)
    mirror = Mirror(models.as_uri(), tmp_path / "cache")
    repository = open_mirrored(mirror)
    assert repository.models() == {"toy": [1]}
    assert mirror.failures == {}
    assert not (mirror.folder / "toy" / "1" / BEHAVIOUR).exists()


def test_a_report_that_could_not_be_had_is_fetched_as_soon_as_it_can(
    web: Any, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = models / "toy" / "1" / BEHAVIOUR
    report.write_bytes(b"one")
    mirror = Mirror(address(web), tmp_path / "cache")
    mirror.sync()
    copy = mirror.folder / "toy" / "1" / BEHAVIOUR
    report.write_bytes(b"another")
    with monkeypatch.context() as patch:
        patch.setattr(Silent, "forbidden", {f"/toy/1/{BEHAVIOUR}"})
        mirror.sync()
    assert copy.read_bytes() == b"one"
    mirror.sync()
    assert copy.read_bytes() == b"another"


def test_no_older_report_stands_in_for_one_that_is_too_long(models: Path, tmp_path: Path) -> None:
    report = models / "toy" / "1" / BEHAVIOUR
    report.write_bytes(b"one")
    mirror = Mirror(models.as_uri(), tmp_path / "cache")
    mirror.sync()
    report.write_bytes(bytes(MAX_DOCUMENT_BYTES + 1))
    mirror.sync()
    assert not (mirror.folder / "toy" / "1" / BEHAVIOUR).exists()


def test_a_report_is_forgotten_with_its_version(models: Path, tmp_path: Path) -> None:
    toy, away = models / "toy" / "1", tmp_path / "away"
    ToyNet(seed=1).publish(models, version=2)
    (toy / BEHAVIOUR).write_bytes(b"one")
    mirror = Mirror(models.as_uri(), tmp_path / "cache")
    mirror.sync()
    toy.rename(away)
    mirror.sync()
    assert not (mirror.folder / "toy" / "1").exists()
    away.rename(toy)
    mirror.sync()
    assert (mirror.folder / "toy" / "1" / BEHAVIOUR).read_bytes() == b"one"
