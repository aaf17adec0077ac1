"""The settings classes of all that runs."""

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
