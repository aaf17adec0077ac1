"""A small real model on this machine, on request: SmolLM2-135M behind an OpenAI-compatible API."""
