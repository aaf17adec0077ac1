"""Make every secret of the compose file, once, at random; later runs keep them.

Each part gets a folder of its own with just what it needs, which compose mounts into that part and no other. What is
set in the environment is used instead of something random. Also decides which model answers, as `parley up` does: the
demo model, unless OPENAI_BASE_URL or OPENAI_API_KEY is set.
"""

import json
import os
import secrets
from pathlib import Path
from urllib.parse import quote

from parley.contracts.permissions import USERS
from parley.runtime import authorization

ROOT = Path(os.environ.get("SECRETS_ROOT", "/secrets"))


def main() -> None:
    kept = remembered()
    for part, files in parts(kept, dict(os.environ)).items():
        folder = ROOT / part
        folder.mkdir(exist_ok=True)
        for name, text in files.items():
            (folder / name).unlink(missing_ok=True)
            if text is None:
                continue
            (folder / name).write_text(text)
            # Only the part that it is mounted into sees it, under a user id that the image chooses.
            (folder / name).chmod(0o444)


def remembered() -> dict[str, str]:
    """Return all secrets: those of earlier runs, those set in the environment, and new ones for the rest."""
    store = ROOT / "all" / "secrets.json"
    known: dict[str, str] = json.loads(store.read_text()) if store.exists() else {}
    names = ["SECRET_KEY", "POSTGRES_PASSWORD", "MIGRATE_POSTGRES_PASSWORD", "SERVICE_POSTGRES_PASSWORD"]
    for name in [*names, *(user.password_variable for user in USERS)]:
        known[name] = os.environ.get(name) or known.get(name) or secrets.token_urlsafe(32)
    store.parent.mkdir(exist_ok=True)
    store.touch(mode=0o600)
    store.write_text(json.dumps(known, indent=2))
    return known


def parts(known: dict[str, str], environment: dict[str, str]) -> dict[str, dict[str, str | None]]:
    """Return the files of each part; None: there must be none."""

    def nats_url(user: str) -> str:
        variable = next(each.password_variable for each in USERS if each.user == user)
        return f"nats://{user}:{quote(known[variable], safe='')}@nats:4222"

    def database_url(role: str, password: str) -> str:
        return f"postgresql://{role}:{quote(known[password], safe='')}@postgres:5432/parley"

    demo, model = which_model(environment)
    return {
        "nats": {
            "authorization.conf": authorization.render({user.user: known[user.password_variable] for user in USERS})
        },
        "postgres": {
            "postgres_password": known["POSTGRES_PASSWORD"],
            "migrate_password": known["MIGRATE_POSTGRES_PASSWORD"],
            "service_password": known["SERVICE_POSTGRES_PASSWORD"],
        },
        "migrate": {
            "nats_url": nats_url("migrate"),
            "database_url": database_url("parley_migrate", "MIGRATE_POSTGRES_PASSWORD"),
        },
        "gateway": {"nats_url": nats_url("gateway"), "secret_key": known["SECRET_KEY"], "demo": str(demo).lower()},
        "chat-store": {
            "nats_url": nats_url("chat-store"),
            "database_url": database_url("chat_store", "SERVICE_POSTGRES_PASSWORD"),
        },
        "llm-worker": {"nats_url": nats_url("llm-worker"), **model},
        "push": {"nats_url": nats_url("push"), "secret_key": known["SECRET_KEY"]},
        "operator": {"nats_url": nats_url("operator")},
    }


def which_model(environment: dict[str, str]) -> tuple[bool, dict[str, str | None]]:
    """Return whether the demo model answers, and the settings of the one that does (None: as set by hand)."""
    if environment.get("OPENAI_BASE_URL") or environment.get("OPENAI_API_KEY"):
        return False, {"openai_base_url": None, "model": None}
    if "ollama" in environment.get("COMPOSE_PROFILES", "").split(","):
        return False, {"openai_base_url": "http://ollama:11434/v1", "model": environment["OLLAMA_MODEL"]}
    return True, {"openai_base_url": "http://demo-model:8002/v1", "model": None}


if __name__ == "__main__":
    main()
