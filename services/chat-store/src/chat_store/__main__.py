"""``python -m chat_store`` runs the service; ``python -m chat_store migrate`` prepares Postgres and NATS for all."""

import asyncio
import sys

from chat_store.errors import CannotServe, SchemaMismatch
from chat_store.settings import MigrateSettings, Settings
from parley.runtime import lifecycle, logs, tracing
from parley.runtime.nats.imports import import_nats
from parley.runtime.settings import read


def main(arguments: list[str]) -> int:
    """Return the exit code: 2 for a wrong setting, 3 for a schema or stream that is not as needed, 1 for all else."""
    settings: Settings | MigrateSettings
    match arguments:
        case []:
            settings = read(Settings, "chat-store")
        case ["migrate"]:
            settings = read(MigrateSettings, "chat-store")
        case _:
            print("usage: python -m chat_store [migrate]", file=sys.stderr)  # noqa: T201
            return 2
    import_nats(settings.nats_url)
    from parley.runtime.nats.errors import NotProvisioned
    from parley.runtime.nats.provision import Differs

    try:
        return _serve(settings) if isinstance(settings, Settings) else _migrate(settings)
    except (SchemaMismatch, NotProvisioned, Differs) as error:
        print(f"chat-store: {error}", file=sys.stderr)  # noqa: T201
        return 3
    except CannotServe as error:
        print(f"chat-store: {error}", file=sys.stderr)  # noqa: T201
        return 1


def _serve(settings: Settings) -> int:
    # Imported here: a migration needs neither FastStream nor the service.
    from chat_store.app import ChatStore

    logs.setup("chat-store", settings.log_level, settings.log_format)

    tracing.setup("chat-store")

    async def run(stop: asyncio.Event) -> None:
        await ChatStore(settings).run(stop)

    try:
        return lifecycle.run(run)
    finally:
        tracing.shutdown()


def _migrate(settings: MigrateSettings) -> int:
    from chat_store import provisioning

    logs.setup("chat-store", settings.log_level, settings.log_format)

    async def run(_: asyncio.Event) -> None:
        await provisioning.migrate(settings)

    return lifecycle.run(run)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
