"""Remove files that serving never reads from Python and its packages, while the image is built.

Run it with the image's interpreter. It removes Python's installers, build tools, tests and tkinter; the packages'
tests and C sources; botocore's data of services other than S3 and its logins; and onnxruntime's tools and C library,
which its Python module does not load. Bytecode is compiled only for modules that a service imports.
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
"""Patterns of files and folders of Python itself, with pip."""

AMAZON = {"s3", "sso", "sso-oidc", "signin", "sts"}
"""The services of Amazon in use: the store, and its logins."""

IMPORTED = """
import fastapi, fastapi_offline, fsspec.implementations.cached, gcsfs, google.protobuf.json_format, grpc.aio, httptools
import markdown_it, msgspec, multiprocessing.resource_tracker, multiprocessing.spawn, numpy.typing, onnxruntime
import opentelemetry.exporter.otlp.proto.http.trace_exporter
import opentelemetry.sdk.trace.export, orjson, prometheus_client, pydantic_settings, rich.console, s3fs, structlog
import starlette.middleware.cors, starlette.staticfiles, typer, urllib.request, uvicorn.main, uvicorn.loops.uvloop
import uvicorn.lifespan.on, watchfiles
"""


def trim() -> None:
    """Delete the files, then import the service's modules to compile their bytecode."""
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
