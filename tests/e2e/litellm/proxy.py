"""LiteLLM's proxy as a process, in front of the demo model."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from pathlib import Path

from parley_cli.embedded.ports import free_port
from tests.support.program import Program
from tests.support.waiting import wait_until

_ENVIRONMENT = Path(__file__).parents[3] / ".venv-litellm"
PROGRAM = _ENVIRONMENT / "bin" / "litellm"
KEY = "sk-litellm"

_CONFIG = """
model_list:
  - model_name: demo-fast
    litellm_params: {{model: openai/demo-fast, api_base: "{upstream}", api_key: x}}
  - model_name: demo-reasoning
    litellm_params: {{model: openai/demo-reasoning, api_base: "{upstream}", api_key: x}}
  - model_name: "demo-*"
    litellm_params: {{model: "openai/demo-*", api_base: "{upstream}", api_key: x}}
litellm_settings: {{num_retries: 0, request_timeout: 120, drop_params: false}}
router_settings: {{num_retries: 0, disable_cooldowns: true}}
general_settings: {{master_key: {key}, disable_spend_logs: true}}
"""


class LiteLLMProxy(Program):
    """``litellm --config``, on a free port.

    Args:
        folder: For its configuration and log.
        upstream: The base URL of the API behind it.
    """

    def __init__(self, folder: Path, upstream: str) -> None:
        self._port = free_port()
        config = folder / "litellm.yaml"
        config.write_text(_CONFIG.format(upstream=upstream, key=KEY))
        super().__init__(
            "LiteLLM's proxy",
            [str(PROGRAM), "--config", str(config), "--host", "127.0.0.1", "--port", str(self._port)],
            # Prices come with the package: nothing is fetched at the start.
            os.environ | {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False"},
            folder / "litellm.log",
        )

    @property
    def url(self) -> str:
        """What belongs into ``OPENAI_BASE_URL``."""
        return f"http://127.0.0.1:{self._port}/v1"

    def wait_ready(self) -> None:
        wait_until(self._is_alive, deadline=120, what="LiteLLM's proxy listening")

    def end(self, *, failed: bool) -> None:
        self.kill()
        if failed:
            print(f"--- log of LiteLLM ---\n{self.log[-10_000:]}")

    def _is_alive(self) -> bool:
        assert self.returncode is None, f"LiteLLM's proxy ended:\n{self.log[-5000:]}"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/health/liveliness", timeout=5):
                return True
        except urllib.error.HTTPError as error:
            error.close()  # or Python 3.14 warns of it
            return False
        except OSError:
            return False
