"""What is checked before the service starts."""

import sys

import pytest

from service.config import Settings
from service.http.checks import MissingPackage, prepare


@pytest.mark.parametrize("name", ["fastapi", "fastapi_offline", "markdown_it"])
def test_a_package_of_the_pages_is_missed_at_the_start(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingPackage, match=f"^{name}: required by Dropserve, and not installed$"):
        prepare(Settings())


def test_all_required_packages_are_there() -> None:
    for listening in prepare(Settings(port=0)):
        listening.close()
