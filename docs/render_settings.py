"""Write the table of settings in operations.md from the services' settings classes."""

import re
from pathlib import Path
from typing import Any

from pydantic_core import PydanticUndefined

from chat_store.settings import MigrateSettings
from chat_store.settings import Settings as ChatStoreSettings
from gateway.settings import Settings as GatewaySettings
from llm_worker.settings import WorkerSettings
from parley.runtime.settings import ServiceSettings
from push.settings import Settings as PushSettings

PAGE = Path(__file__).with_name("operations.md")
BEGIN, END = "<!-- settings: written by docs/render_settings.py -->\n", "<!-- end of settings -->\n"
_CLASSES: dict[str, type[ServiceSettings]] = {
    "All": ServiceSettings,
    "gateway": GatewaySettings,
    "chat-store": ChatStoreSettings,
    "`chat_store migrate`": MigrateSettings,
    "llm-worker": WorkerSettings,
    "push": PushSettings,
}


def render() -> str:
    """Return the tables, one for what all have and one for each service."""
    common = ServiceSettings.model_fields.keys()
    parts = []
    for title, settings in _CLASSES.items():
        own = {name: field for name, field in settings.model_fields.items() if title == "All" or name not in common}
        rows = "".join(
            f"| `{name.upper()}` | {_default(field)} | {field.description or ''} |\n" for name, field in own.items()
        )
        parts.append(f"**{title}**\n\n| variable | default | what |\n|---|---|---|\n{rows}")
    return "\n".join(parts)


def _default(field: Any) -> str:
    if field.default is PydanticUndefined:
        return "*must be set*"
    if field.default is None or field.default == "":
        return "unset"
    value = str(field.default).lower() if isinstance(field.default, bool) else str(field.default)
    return f"`{value}`"


def put_into(page: str) -> str:
    """Return the page with its tables renewed."""
    pattern = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.S)
    return pattern.sub(lambda _: f"{BEGIN}\n{render()}\n{END}", page)


if __name__ == "__main__":
    PAGE.write_text(put_into(PAGE.read_text()))
