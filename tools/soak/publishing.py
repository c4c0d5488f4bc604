"""Kill publishers before each step on the disk, and fill disks: no half version may be visible.

Each publisher is a fork of this process, so that it runs in one of its own: `python -m tools.soak.publishing FOLDER`
prints the results of `publishing`.
"""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from service import load_model
from service.engine.masks import MaskCache
from service.errors import DropserveError
from service.repository.folder import find_models
from tools.soak.report import Report

Publish = Callable[[Path], object]

FAILED = 3
"""Exit code of a publisher that reported a failure."""
ROOM = (0, 1, 100, 500, 1000, 1500)
"""Largest bytes of a file on a full disk."""
DISK_KB = (4, 8, 16, 64)
"""Sizes of disks that are too small for a version or two."""


def publishing(folder: Path) -> Report:
    """Run the trial in a process of its own, as it forks."""
    command = [sys.executable, "-m", "tools.soak.publishing", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Report(*json.loads(done.stdout.splitlines()[-1]))


def try_all(folder: Path, publish: Publish) -> Report:
    """Kill at each step, then fill the disk."""
    kills = _kill_at_each_step(folder / "killed", publish)
    full = [*_limit_files(folder / "limited", publish), *_fill_disks(folder / "disk", publish)]
    return Report(
        {"steps": len(kills), "kills": _count(kills, "left"), "full": full},
        {
            "a publisher killed at any step leaves whole versions only": all(each["whole"] for each in kills),
            "the next publish works": all(each["next"] for each in kills),
            "a later publish removes the files of the killed one": not any(each["litter"] for each in kills),
            "the last step was reached": kills[-1]["left"] == "the version",
            "a full disk is reported, and leaves whole versions only": all(
                each["whole"] and each["told"] for each in full
            ),
        },
        {},
    )


def _kill_at_each_step(models: Path, publish: Publish) -> list[dict[str, Any]]:
    """Kill before the first step below the folder of models, before the second, until it survives."""
    kills: list[dict[str, Any]] = []
    for step in count(1):
        shutil.rmtree(models, ignore_errors=True)
        assert _fork(lambda: publish(models)) == 0
        ended = _fork(lambda: publish(models), before=partial(_die_before, step, models))
        if ended == 0:
            return kills
        assert ended == -signal.SIGKILL
        left, whole = len(_versions(models)), _are_whole(models)
        for litter in models.glob(".*"):
            os.utime(litter, (0, 0))  # as if it had been left long ago
        worked = _fork(lambda: publish(models)) == 0
        kills.append(
            {
                "step": step,
                "left": "nothing" if left == 1 else "the version",
                "whole": whole,
                "next": worked and len(_versions(models)) == left + 1 and _are_whole(models),
                "litter": sorted(path.name for path in models.glob(".*")),
            }
        )
    raise AssertionError("count() has no end")


def _die_before(step: int, models: Path) -> None:
    """Kill at the audit event of this number that names a path below the models: open, mkdir, rename, chmod and
    so on.
    """
    steps = count(1)

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        of_disk = event.startswith(("os.", "open", "tempfile.", "shutil."))
        if of_disk and _names(arguments, models) and next(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def _names(arguments: tuple[object, ...], models: Path) -> bool:
    return any(isinstance(each, str | Path) and str(each).startswith(str(models)) for each in arguments)


def _limit_files(models: Path, publish: Publish) -> list[dict[str, Any]]:
    """Limit the length of files, as a quota or a full disk does in the middle of a write."""

    def limited(room: int) -> object:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
        return publish(models)

    return [_result(f"files of at most {room} bytes", _fork(partial(limited, room)), models) for room in ROOM]


def _fill_disks(disk: Path, publish: Publish) -> list[dict[str, Any]]:
    """Fill small disks in memory, if this user may mount them."""
    lines = []
    disk.mkdir(parents=True)
    for size in DISK_KB:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(disk)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            return []
        try:
            ends = [_fork(lambda: publish(disk / "models")) for _ in range(20)]
            lines.append(_result(f"a disk of {size} KiB", max(ends), disk / "models"))
        finally:
            subprocess.run(["umount", str(disk)], check=True)
    return lines


def _result(what: str, ended: int, models: Path) -> dict[str, Any]:
    found = _versions(models)
    litter = sorted(path.name for path in models.glob(".*"))
    return {
        "what": what,
        "told": ended == FAILED and not litter,
        "versions": len(found),
        "whole": _are_whole(models),
    }


def _versions(models: Path) -> list[Path]:
    """Return the versions that the service finds."""
    return list(find_models(models)) if models.is_dir() else []


def _are_whole(models: Path) -> bool:
    """Return whether the service would serve each version."""
    try:
        for folder in _versions(models):
            load_model(folder, MaskCache(0))
    except DropserveError:
        return False
    return True


def _fork(work: Callable[[], object], before: Callable[[], None] = lambda: None) -> int:
    """Run the work in a process of its own; return its exit code, or minus the signal that ended it."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            before()
            work()
            code = 0
        except DropserveError:
            code = FAILED
        except BaseException:  # noqa: BLE001 - printed, and the fork must not continue as its parent
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _count(lines: list[dict[str, Any]], by: str) -> dict[str, int]:
    return {value: sum(line[by] == value for line in lines) for value in sorted({line[by] for line in lines})}


def _main(folder: Path) -> None:
    from tests.training.publish.test_publish import DRAFT, TOY, golden_answers, verified
    from training.publish.publish import publish

    graphs = verified(TOY)
    recorded = golden_answers(graphs)
    found = try_all(folder, lambda models: publish(models, DRAFT, graphs, recorded))
    print(json.dumps(found))  # noqa: T201 - what the parent process reads


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
