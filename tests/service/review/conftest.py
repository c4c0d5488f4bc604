"""A place of each kind, and a model that refers some rows."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.review.places import KINDS, Place, Postgres, postgres_server, why_not_postgres
from tests.toy import ToyNet

ABSTENTION = ({"error_rate": 0.05, "threshold": 0.9, "coverage": 0.8},)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    if reason := why_not_postgres():
        pytest.skip(reason)
    with postgres_server() as server:
        yield server


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place | Postgres:
    """Empty."""
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        server.make_database()
        return server
    folder = tmp_path / "store"
    return Place(folder, str(folder) if request.param == "parquet" else f"sqlite:///{folder}/log.db")


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy that decides, and a regression."""
    models = tmp_path_factory.mktemp("models")
    ToyNet().publish(models, abstention=ABSTENTION)
    ToyNet(seed=2, outputs=1).publish(models, name="yield", task="regression", labels=(), noise={"std": 0.3})
    return models
