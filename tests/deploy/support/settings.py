"""The settings classes of all that runs, and which settings an installation may set without a patch."""

import json
import os
from collections.abc import Mapping
from typing import Final

import pytest
from pydantic import Secret

from chat_store.settings import MigrateSettings
from chat_store.settings import Settings as ChatStoreSettings
from gateway.settings import Settings as GatewaySettings
from llm_worker.settings import WorkerSettings
from parley.runtime.settings import ServiceSettings
from push.settings import Settings as PushSettings

SETTINGS: dict[str, type[ServiceSettings]] = {
    "gateway": GatewaySettings,
    "chat-store": ChatStoreSettings,
    "llm-worker": WorkerSettings,
    "push": PushSettings,
    "migrate": MigrateSettings,
}

SIGN_IN: Final = {
    "PUBLIC_URL": "https://chat.test",
    "OIDC_ISSUER": "https://id.test/realms/staff",
    "OIDC_CLIENT_ID": "parley",
    "OIDC_SCOPES": "openid profile",
    "OIDC_GROUPS_CLAIM": "realm_access.roles",
    "OIDC_ADMIN_GROUP": "chat-admins",
    "OIDC_NAME": "Staff login",
    "JWT_ISSUER": "https://tokens.test",
    "JWT_AUDIENCE": "chat",
    "JWT_JWKS_URL": "https://tokens.test/keys",
    "JWT_ALGORITHMS": "ES256",
    "JWT_GROUPS_CLAIM": "roles",
    "JWT_ADMIN_GROUP": "token-admins",
    "AUTH_PROXY_NETWORKS": "10.1.0.0/16",
    "AUTH_PROXY_USER_HEADER": "X-User",
    "AUTH_PROXY_EMAIL_HEADER": "X-Email",
    "AUTH_PROXY_NAME_HEADER": "X-Name",
    "AUTH_PROXY_GROUPS_HEADER": "X-Groups",
    "AUTH_PROXY_ADMIN_GROUP": "proxy-admins",
}
"""All of the sign-in but ``AUTH_MODES`` and the secrets, each with a value that is no default."""

SIGN_IN_SECRETS: Final = {"OIDC_CLIENT_SECRET": "the client's secret", "JWT_KEY": "the issuer's key"}

MODELS: Final = {"MODELS": '[{"name": "small", "default": true, "price": {"input": 0.15, "output": 0.6}}]'}

CONFIGURABLE: Final[dict[str, dict[str, str]]] = {
    "gateway": {
        **SIGN_IN,
        "SESSION_SECONDS": "3600",
        "SESSION_MAX_SECONDS": "7200",
        "SHARE_LINKS": "public",
        "REQUESTS_PER_SECOND": "11",
        "REQUESTS_BURST": "12",
        "REQUESTS_PER_SECOND_PER_ADDRESS": "13",
        "REQUESTS_BURST_PER_ADDRESS": "14",
        "WRITES_PER_SECOND": "15",
        "WRITES_BURST": "16",
        "GUESTS_PER_SECOND": "17",
        "GUESTS_BURST": "18",
        "SHARED_PER_SECOND": "19",
        "SHARED_BURST": "20",
        "MAX_CONNECTIONS": "2100",
        "MAX_CONNECTIONS_PER_ADDRESS": "220",
    },
    "chat-store": {
        "PROMPTS_PER_MINUTE": "31",
        "ANSWERS_PER_USER": "32",
        "TOKENS_PER_DAY": "33",
        "TOKENS_PER_DAY_OF_GROUPS": '{"staff": 34}',
        "CHATS_PER_USER": "35",
        "QUEUED_PROMPTS_PER_CHAT": "7",
        "QUEUED_BYTES_PER_CHAT": "37",
        "RETENTION_DAYS": "38",
        "FORGET_GUESTS_AFTER": "39",
    },
    "push": {"MAX_SOCKETS": "41", "MAX_SOCKETS_PER_ADDRESS": "42", "MAX_SOCKETS_PER_USER": "43"},
}
"""By service, what the files of an installation may set: sign-in, sessions, limits, retention."""

_NEEDED: Final = {
    "NATS_URL": "nats://nats:4222",
    "DATABASE_URL": "postgresql://postgres/parley",
    "SECRET_KEY": "k" * 32,
}


def read(service: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return what a service's program reads from its environment, by variable, as the environment spells it."""
    kind = SETTINGS[service]
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            patch.delenv(name)
        for name, value in {**_NEEDED, **{name: value for name, value in environment.items() if value}}.items():
            if name != "SECRETS_DIR":
                patch.setenv(name, value)
        settings = kind()  # type: ignore[call-arg]  # from the environment
    return {name.upper(): _spelled(getattr(settings, name)) for name in kind.model_fields}


def _spelled(value: object) -> str:
    match value:
        case Secret():
            return str(value.get_secret_value())
        case int() | float():
            return f"{value:g}"
        case dict():
            return json.dumps(value)
    return "" if value is None else str(value)
