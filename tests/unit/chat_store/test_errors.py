"""An outage is nobody's fault; anything else is the data's."""

import asyncpg
import pytest

from chat_store.errors import Unavailable, describe, is_outage


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
        asyncpg.InvalidPasswordError("28P01"),
        asyncpg.InvalidAuthorizationSpecificationError("28000"),
        asyncpg.InvalidCatalogNameError("3D000"),
        asyncpg.ObjectNotInPrerequisiteStateError("55000: the database accepts no connections"),
        asyncpg.InvalidSQLStatementNameError("26000: another session of a pooler"),
        asyncpg.ReadOnlySQLTransactionError("25006: a standby"),
        asyncpg.PostgresError("a state that nobody knows"),
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
        asyncpg.ProgramLimitExceededError("54000: the value is too large"),
        asyncpg.RaiseError("a trigger says no"),
        asyncpg.InternalServerError("XX000: this statement meets a defect"),
        ValueError(),
        AssertionError(),
    ],
)
def test_a_fault_of_the_data_is_no_outage(error: Exception) -> None:
    assert not is_outage(error)


@pytest.mark.parametrize(
    "error",
    [
        TimeoutError(),
        ConnectionResetError(),
        OSError(),
        Unavailable(),
        asyncpg.InterfaceError(""),
        asyncpg.TooManyConnectionsError("sorry, too many clients already"),
        asyncpg.InvalidPasswordError('password authentication failed for user "chat_store"'),
    ],
)
def test_an_outage_is_described_in_one_sentence_that_is_never_empty(error: Exception) -> None:
    said = describe(error)
    assert said.startswith("Postgres ")
    assert said.endswith(".")
    assert "()" not in said
    assert "\n" not in said
