#!/venv/bin/python
"""The image's health check: ask the service of this container, where it listens, whether it is ready.

It knows the place as the service does: from the options of the container's command, else from the environment.
"""

import argparse
import os
import ssl
import sys
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path

COMMAND = Path("/proc/1/cmdline")
SECONDS = 2.5
ALL_ADDRESSES = {"0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}  # noqa: S104 - where it listens, not what is listened on
"""Of both families, where it listens on all."""


def connect(environment: Mapping[str, str], command: Sequence[str]) -> HTTPConnection:
    """Return a connection to the service. Raises ValueError for a port that is none."""
    variables = {name.upper(): value for name, value in environment.items() if value}
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--host", default=variables.get("DROPSERVE_HOST", "127.0.0.1"))
    parser.add_argument("--port", default=variables.get("DROPSERVE_PORT", "8000"))
    options, _ = parser.parse_known_args([part for part in command if part != "--"])  # which an init process has
    host = options.host.strip("[]")
    host, port = ALL_ADDRESSES.get(host, host), int(options.port)
    if "DROPSERVE_SSL_CERTFILE" not in variables:
        return HTTPConnection(host, port, timeout=SECONDS)
    context = ssl.create_default_context()
    # What matters is whether it answers; the certificate is that of another name
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return HTTPSConnection(host, port, timeout=SECONDS, context=context)


def main() -> None:
    """Exit with 1 and the reason, which the container's health log shows, unless the service is ready."""
    try:
        connection = connect(os.environ, COMMAND.read_text().split("\0"))
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        content = answer.read().decode()
    except (OSError, HTTPException, ValueError) as error:
        sys.exit(f"the service cannot be reached: {error}")
    if answer.status != 200:
        sys.exit(content)


if __name__ == "__main__":
    main()
