"""An outage is nobody's fault; anything else is the data's."""

import asyncpg
import pytest

from chat_store.errors import Unavailable, is_outage


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(),
        TimeoutError(),
        Unavailable(),
        asyncpg.ConnectionDoesNotExistError("gone"),
        asyncpg.CannotConnectNowError("starting up"),
        asyncpg.AdminShutdownError("bye"),
        asyncpg.TooManyConnectionsError("full"),
        asyncpg.DiskFullError("full"),
        asyncpg.DeadlockDetectedError("again"),
        asyncpg.UndefinedColumnError("a newer schema"),
        asyncpg.InterfaceError("connection is closed"),
    ],
)
def test_an_outage_is_known(error: Exception) -> None:
    assert is_outage(error)


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.UniqueViolationError("twice"),
        asyncpg.CheckViolationError("no"),
        asyncpg.CharacterNotInRepertoireError("no"),
        asyncpg.exceptions._base.DataError("cannot be encoded"),
        ValueError(),
        AssertionError(),
    ],
)
def test_a_fault_of_the_data_is_no_outage(error: Exception) -> None:
    assert not is_outage(error)
