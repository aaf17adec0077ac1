"""What every generation of a process uses."""

from dataclasses import dataclass

from nats.aio.client import Client
from nats.js import JetStreamContext

from llm_worker.generation.claims import Claims
from llm_worker.generation.live import CorePublisher
from llm_worker.generation.segments import SegmentInterval
from llm_worker.provider.client import Provider
from llm_worker.provider.models import Models
from llm_worker.settings import WorkerSettings
from llm_worker.tools.toolbox import ToolServers


@dataclass(frozen=True, kw_only=True)
class Dependencies:
    nc: Client
    js: JetStreamContext
    core: CorePublisher
    segments: SegmentInterval
    claims: Claims
    provider: Provider
    models: Models
    tools: ToolServers
    settings: WorkerSettings
