"""Make every secret of a deployment at random; each part gets just what it needs.

    python make_secrets.py files FOLDER          for compose: generated once, unchanged by later runs
    python make_secrets.py kubernetes [POSTGRES] prints Secrets, for `kubectl apply -f -`; reuses the cluster's

For compose it needs the standard library alone, and takes nothing from outside: a container of it that never changes
restarts nothing that waits for it. For Kubernetes, what is set in the environment is used instead of something random,
POSTGRES is where the database is (default: where it was, at first postgres:5432); `kubectl` is asked for the Secrets
that the namespace `parley` has, since NATS and Postgres go on with the passwords that they were made with.
"""

import json
import os
import secrets
import shutil
import subprocess
import sys
from base64 import b64decode
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

NAMES = ["SECRET_KEY", "POSTGRES_PASSWORD", "MIGRATE_POSTGRES_PASSWORD", "SERVICE_POSTGRES_PASSWORD"]
BUS_USERS = ["gateway", "chat-store", "llm-worker", "push", "migrate", "operator"]
"""The users of parley.contracts.access.permissions."""
OF_OTHERS = [
    ("llm-worker", "openai_api_key"),
    ("llm-worker", "mcp_servers"),
    ("gateway", "oidc_client_secret"),
    ("gateway", "jwt_key"),
]
"""What providers gave: from the environment, stored until another is given. Compose passes them as they are set."""
MIN_KEY_LENGTH = 32
DATABASE = "parley"
NAMESPACE = "parley"
LABEL = "app.kubernetes.io/part-of=parley"

Files = dict[str, str]


def main() -> None:
    match sys.argv[1:]:
        case ["files", folder]:
            write(Path(folder))
        case ["kubernetes", *where]:
            print(json.dumps(kubernetes(in_cluster(), where[0] if where else None), indent=2))  # noqa: T201
        case _:
            sys.exit(__doc__)


def names() -> list[str]:
    return [*NAMES, *map(password_variable, BUS_USERS)]


def password_variable(user: str) -> str:
    """Return the name by which deploy/nats/authorization.conf knows the user's password."""
    return f"{user.upper().replace('-', '_')}_NATS_PASSWORD"


def completed(known: dict[str, str]) -> dict[str, str]:
    """Return ``known`` with what the environment sets, and something random for what is set nowhere."""
    return known | {name: os.environ.get(name) or known.get(name) or secrets.token_urlsafe(32) for name in names()}


def parts(known: dict[str, str], postgres: str) -> dict[str, Files]:
    """Return the files of each part but NATS: the settings of that name, or what Postgres reads."""

    def nats_url(user: str) -> str:
        return f"nats://{user}:{quote(known[password_variable(user)], safe='')}@nats:4222"

    def database_url(role: str, password: str) -> str:
        return f"postgresql://{role}:{quote(known[password], safe='')}@{postgres}/{DATABASE}"

    return {
        "postgres": {
            "postgres_password": known["POSTGRES_PASSWORD"],
            "migrate_password": known["MIGRATE_POSTGRES_PASSWORD"],
            "service_password": known["SERVICE_POSTGRES_PASSWORD"],
        },
        "migrate": {
            "nats_url": nats_url("migrate"),
            "database_url": database_url("parley_migrate", "MIGRATE_POSTGRES_PASSWORD"),
        },
        "gateway": {"nats_url": nats_url("gateway"), "secret_key": known["SECRET_KEY"]},
        "chat-store": {
            "nats_url": nats_url("chat-store"),
            "database_url": database_url("chat_store", "SERVICE_POSTGRES_PASSWORD"),
        },
        "llm-worker": {"nats_url": nats_url("llm-worker")},
        "push": {"nats_url": nats_url("push"), "secret_key": known["SECRET_KEY"]},
        # Backup, restore and doctor look at both, and restoring makes the tables anew.
        "operator": {
            "nats_url": nats_url("operator"),
            "database_url": database_url("parley_migrate", "MIGRATE_POSTGRES_PASSWORD"),
        },
    }


# --- compose ----------------------------------------------------------------------------------------------------------


def write(root: Path) -> None:
    """Write each part's files into a folder that compose mounts into that part and no other."""
    known = remembered(root / "all" / "secrets.json")
    made = parts(known, "postgres:5432") | {"nats": {"passwords.env": exported(known)}}
    for part, files in made.items():
        folder = root / part
        folder.mkdir(exist_ok=True)
        for name, text in files.items():
            # Only the part that it is mounted into sees it, under a user id that the image chooses.
            put(folder / name, text, mode=0o444)
        for path in folder.iterdir():
            if path.name not in files:
                path.unlink()


def exported(known: dict[str, str]) -> str:
    """Return shell lines. NATS reads a value as it reads configuration: a password like 12345 needs its quotes."""
    return "".join(f"export {name}='\"{known[name]}\"'\n" for name in map(password_variable, BUS_USERS))


def remembered(store: Path) -> dict[str, str]:
    """Return all secrets: those of earlier runs, and new ones for the rest."""
    known: dict[str, str] = json.loads(store.read_text()) if store.exists() else {}
    if len(known.get("SECRET_KEY", "")) < MIN_KEY_LENGTH:
        # Earlier versions accepted one that was set by hand, however short.
        known.pop("SECRET_KEY", None)
    known = completed(known)
    store.parent.mkdir(parents=True, exist_ok=True)
    put(store, json.dumps(known, indent=2), mode=0o600)
    return known


def put(path: Path, text: str, *, mode: int) -> None:
    """Write the file whole or not at all. A root without capabilities may replace a file that it may not write to."""
    if path.exists() and path.read_text() == text:
        return
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        file.write(text)
    new.chmod(mode)
    new.replace(path)


# --- Kubernetes -------------------------------------------------------------------------------------------------------


def in_cluster() -> dict[str, Files]:
    """Return the content of each Secret of ours that the cluster has, by its name.

    Raises:
        SystemExit: kubectl failed. New passwords would lock the services out of NATS and Postgres.
    """
    if shutil.which("kubectl") is None:
        print("make_secrets: kubectl is not installed here, so every secret is new", file=sys.stderr)  # noqa: T201
        return {}
    command = ["kubectl", "get", "secret", "--namespace", NAMESPACE, "--selector", LABEL, "--output", "json"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        sys.exit(f"make_secrets: the cluster's secrets cannot be read: {result.stderr.strip()}")
    return {
        item["metadata"]["name"]: {name: b64decode(text).decode() for name, text in item.get("data", {}).items()}
        for item in json.loads(result.stdout)["items"]
    }


def recovered(found: dict[str, Files]) -> dict[str, str]:
    """Return the secrets that these Secrets were made from."""

    def of(part: str, name: str) -> str:
        return found.get(f"parley-{part}", {}).get(name, "")

    return {
        "SECRET_KEY": of("gateway", "secret_key"),
        "POSTGRES_PASSWORD": of("postgres", "postgres_password"),
        "MIGRATE_POSTGRES_PASSWORD": of("postgres", "migrate_password"),
        "SERVICE_POSTGRES_PASSWORD": of("postgres", "service_password"),
        **{password_variable(user): unquote(urlsplit(of(user, "nats_url")).password or "") for user in BUS_USERS},
    }


def kubernetes(found: dict[str, Files], postgres: str | None) -> dict[str, object]:
    """Return a List of Secrets named `parley-<part>`, and the two that CloudNativePG takes its roles from.

    Args:
        found: What the cluster has.
        postgres: Host and port of the database.
    """
    from parley.runtime.nats import authorization

    known = completed(recovered(found))
    before = urlsplit(found.get("parley-chat-store", {}).get("database_url", "")).netloc.rpartition("@")[2]
    passwords = {user: known[password_variable(user)] for user in BUS_USERS}
    made = parts(known, postgres or before or "postgres:5432")
    made["nats"] = {"authorization.conf": authorization.render(passwords)}
    keys = os.environ.get("SECRET_KEYS") or found.get("parley-gateway", {}).get("secret_keys")
    if keys:
        # While the signing key is replaced; compose passes them as an environment variable.
        for part in ("gateway", "push"):
            made[part]["secret_keys"] = keys
    for part, name in OF_OTHERS:
        secret = os.environ.get(name.upper()) or found.get(f"parley-{part}", {}).get(name)
        if secret:
            made[part][name] = secret
    items = [_secret(f"parley-{part}", "Opaque", files) for part, files in made.items()]
    for role, password in (
        ("parley_migrate", "MIGRATE_POSTGRES_PASSWORD"),
        ("chat_store", "SERVICE_POSTGRES_PASSWORD"),
    ):
        login = {"username": role, "password": known[password]}
        items.append(_secret(f"parley-role-{role.replace('_', '-')}", "kubernetes.io/basic-auth", login))
    return {"apiVersion": "v1", "kind": "List", "items": items}


def _secret(name: str, kind: str, files: Files) -> dict[str, object]:
    label, _, value = LABEL.partition("=")
    metadata = {"name": name, "namespace": NAMESPACE, "labels": {label: value}}
    return {"apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": metadata, "stringData": files}


if __name__ == "__main__":
    main()
