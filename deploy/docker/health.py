"""Whether the service in this container answers, where its callers ask; the exit code says so.

    python health.py VARIABLE PATH STATUS ...    the variable has the port

Standard library only. Servers of the same port look alike on `/healthz`, so a service is asked for its own besides.
"""

import http.client
import os
import sys


def main(arguments: list[str]) -> None:
    asked = iter(arguments)
    for variable, path, status in zip(asked, asked, asked, strict=True):
        connection = http.client.HTTPConnection("127.0.0.1", int(os.environ[variable]), timeout=2)
        connection.request("GET", path)
        found = connection.getresponse().status
        if found != int(status):
            sys.exit(f"{path} at {variable} is answered with {found} instead of {status}.")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (OSError, http.client.HTTPException) as error:
        sys.exit(f"no answer: {error}")
