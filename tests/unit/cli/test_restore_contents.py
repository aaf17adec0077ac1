"""Which lines of a dump's table of contents are left out of a restore."""

import pytest

from parley_cli.backup.database import left_to_migrate


@pytest.mark.parametrize(
    "line",
    [
        "2; 3079 16385 EXTENSION - pg_trgm ",
        "3702; 0 0 COMMENT - EXTENSION pg_trgm ",
        "3465; 1259 16534 INDEX public messages_folded parley_migrate",
    ],
)
def test_what_differs_by_server_is_left_to_the_migration(line: str) -> None:
    assert left_to_migrate(line)


@pytest.mark.parametrize(
    "line",
    [
        "3466; 1259 16535 INDEX public messages_in_order parley_migrate",
        "220; 1259 16401 TABLE public messages parley_migrate",
        "245; 1255 16400 FUNCTION public search_fold(text) parley_migrate",
        ";     dbname: parley",
    ],
)
def test_all_else_is_restored(line: str) -> None:
    assert not left_to_migrate(line)
