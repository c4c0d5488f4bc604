#!/venv/bin/python
"""The image's health check: request `/readyz` of the service in this container.

Host and port come from the options of the container's command, or else from the environment, as for the service.
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
ALL_ADDRESSES = {"0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}  # noqa: S104 - nothing is bound here
"""The address to connect to, if the service listens on all addresses."""


def connect(environment: Mapping[str, str], command: Sequence[str]) -> HTTPConnection:
    """Return a connection to the service. Raises ValueError for an invalid port."""
    variables = {name.upper(): value for name, value in environment.items() if value}
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--host", default=variables.get("DROPSERVE_HOST", "127.0.0.1"))
    parser.add_argument("--port", default=variables.get("DROPSERVE_PORT", "8000"))
    options, _ = parser.parse_known_args([part for part in command if part != "--"])  # an init process has it
    host = options.host.strip("[]")
    host, port = ALL_ADDRESSES.get(host, host), int(options.port)
    if "DROPSERVE_SSL_CERTFILE" not in variables:
        return HTTPConnection(host, port, timeout=SECONDS)
    context = ssl.create_default_context()
    # the connection stays within the container, and the certificate is for another name
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return HTTPSConnection(host, port, timeout=SECONDS, context=context)


def main() -> None:
    """Exit with 1 and the reason, for the container's health log, unless the service is ready."""
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
