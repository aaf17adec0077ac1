"""A client of Parley's public interfaces: HTTP for commands and lists, a socket (or server-sent events) for answers.

It behaves as the browser's (``clients/typescript``): resumes with a cursor, merges frames by the same table of cases
(``tests/cases/frames.json``), and comes back by itself.
"""

from parley_client.api import Api
from parley_client.client import ParleyClient
from parley_client.errors import ClientError, ConnectionRefused, NotReachable, Problem, SignedOut
from parley_client.state import ChatState, Generation, Outcome
from parley_client.watch import Watch

__all__ = [
    "Api",
    "ChatState",
    "ClientError",
    "ConnectionRefused",
    "Generation",
    "NotReachable",
    "Outcome",
    "ParleyClient",
    "Problem",
    "SignedOut",
    "Watch",
]
