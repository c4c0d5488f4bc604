"""Takes out of Python and the packages what serving never reads: run with their interpreter while the image is built.

Nothing that can be imported and is of use goes: of Python what installs, builds, tests and draws windows; the tests of
packages, sources in C, what else than S3 and its logins botocore knows of Amazon, and of onnxruntime its tools and the
library for programs in C, which its Python module does not load. Of compiled modules those stay that a service imports;
others are compiled when somebody does.
"""

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

PACKAGES = Path(sysconfig.get_path("purelib"))
PYTHON = Path(sys.base_prefix)

UNREAD = (
    "**/tests",
    "**/*.pxd",
    "**/*.pyi",
    "**/*.pyx",
    "numpy/_core/include",
    "numpy/distutils",
    "numpy/f2py",
    "onnxruntime/capi/libonnxruntime.so*",
    "onnxruntime/quantization",
    "onnxruntime/tools",
    "onnxruntime/transformers",
    "**/__pycache__",
)
"""Patterns of files and folders among the packages."""

UNREAD_OF_PYTHON = (
    "bin/2to3*",
    "bin/idle*",
    "bin/pip*",
    "bin/pydoc*",
    "bin/python*-config",
    "bin/wheel",
    "include",
    "lib/pkgconfig",
    "lib/python3*/config-*",
    "lib/python3*/ensurepip",
    "lib/python3*/idlelib",
    "lib/python3*/lib-dynload/*test*",
    "lib/python3*/lib-dynload/_tkinter*",
    "lib/python3*/lib2to3",
    "lib/python3*/pydoc_data",
    "lib/python3*/site-packages/*",
    "lib/python3*/test",
    "lib/python3*/tkinter",
    "lib/python3*/turtle*",
    "lib/**/__pycache__",
    "share/man",
)
"""The same of Python itself, pip among them."""

AMAZON = {"s3", "sso", "sso-oidc", "signin", "sts"}
"""What of Amazon is spoken: the store, and ways to log in to it."""

IMPORTED = """
import fastapi, fastapi_offline, fsspec.implementations.cached, gcsfs, google.protobuf.json_format, grpc.aio, httptools
import markdown_it, msgspec, numpy.typing, onnxruntime, opentelemetry.exporter.otlp.proto.http.trace_exporter
import opentelemetry.sdk.trace.export, orjson, prometheus_client, pydantic_settings, rich.console, s3fs, structlog
import starlette.middleware.cors, starlette.staticfiles, typer, urllib.request, uvicorn.main, uvicorn.loops.uvloop
import uvicorn.lifespan.on, uvicorn.supervisors, watchfiles
"""


def trim() -> None:
    """Delete, then import, so that what is imported is compiled again."""
    services = (entry for entry in (PACKAGES / "botocore" / "data").iterdir() if entry.is_dir())
    for path in [
        *(path for pattern in UNREAD for path in PACKAGES.glob(pattern)),
        *(path for pattern in UNREAD_OF_PYTHON for path in PYTHON.glob(pattern)),
        *(service for service in services if service.name not in AMAZON),
    ]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    subprocess.run([sys.executable, "-c", IMPORTED], check=True, env={})  # noqa: S603


if __name__ == "__main__":
    trim()
