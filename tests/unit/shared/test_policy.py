"""The whole policy: every role and action in a chat, and every kind of principal and action of an account."""

from collections.abc import Iterator
from itertools import combinations
from typing import get_args

import pytest

from parley.contracts.access import policy
from parley.contracts.access.identity import ALL_SCOPES, Principal, Scope, UserRole
from parley.contracts.access.policy import AccountAction, ChatAction
from parley.contracts.resources import Role
from tests.support.users import guest

ROLES: tuple[Role | None, ...] = (*get_args(Role), None)

ALLOWED_IN_CHAT: dict[ChatAction, set[Role | None]] = {
    "read": {"owner", "writer", "reader"},
    "write": {"owner", "writer"},
    "rename": {"owner", "writer"},
    "invite": {"owner"},
    "share": {"owner"},
    "hand_over": {"owner"},
    "delete": {"owner"},
}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("action", get_args(ChatAction))
def test_a_role_allows_its_actions_in_a_chat_and_no_others(role: Role | None, action: ChatAction) -> None:
    assert policy.may_in_chat(role, action) == (role in ALLOWED_IN_CHAT[action])


@pytest.mark.parametrize("author", ["the member", "somebody else", None])
@pytest.mark.parametrize("role", ROLES)
def test_a_queued_prompt_is_deleted_by_the_owner_and_by_its_author_who_may_write(
    role: Role | None, author: str | None
) -> None:
    expected = role == "owner" or (role == "writer" and author == "the member")
    assert policy.may_delete_prompt(role, "the member", author) == expected


def principal(
    role: UserRole = "user", *, scopes: tuple[Scope, ...] = ALL_SCOPES, key: bool = False, disabled: bool = False
) -> Principal:
    user = guest("ann", role=role, disabled=disabled)
    return Principal(user=user, session_id=None if key else "session", key_id="key" if key else None, scopes=scopes)


def subsets() -> Iterator[tuple[Scope, ...]]:
    for size in range(len(ALL_SCOPES) + 1):
        yield from combinations(ALL_SCOPES, size)


@pytest.mark.parametrize("role", get_args(UserRole))
@pytest.mark.parametrize("action", get_args(AccountAction))
def test_a_session_allows_everything_but_administration_which_is_for_administrators(
    role: UserRole, action: AccountAction
) -> None:
    assert policy.may(principal(role), action) == (action != "administer" or role == "administrator")


@pytest.mark.parametrize("scopes", list(subsets()), ids=" ".join)
@pytest.mark.parametrize("role", get_args(UserRole))
@pytest.mark.parametrize("action", get_args(AccountAction))
def test_an_api_key_allows_what_its_scopes_name_and_neither_the_account_nor_administration(
    role: UserRole, action: AccountAction, scopes: tuple[Scope, ...]
) -> None:
    expected = {
        "read": "read" in scopes or "write" in scopes,
        "write": "write" in scopes,
        "openai": bool({"openai", "write"} & set(scopes)),
        "account": False,
        "administer": False,
    }
    assert policy.may(principal(role, scopes=scopes, key=True), action) == expected[action]


@pytest.mark.parametrize("key", [False, True])
@pytest.mark.parametrize("role", get_args(UserRole))
@pytest.mark.parametrize("action", get_args(AccountAction))
def test_a_disabled_user_may_do_nothing(role: UserRole, action: AccountAction, key: bool) -> None:
    assert not policy.may(principal(role, key=key, disabled=True), action)


def test_every_role_and_action_has_its_cell() -> None:
    assert set(policy.CHAT_ACTIONS) == set(get_args(Role))
    assert set(ALLOWED_IN_CHAT) == set(get_args(ChatAction))
    assert set().union(*policy.CHAT_ACTIONS.values()) == set(get_args(ChatAction))
