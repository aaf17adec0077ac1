"""The model provider: its client, stream decoding, error mapping and model list."""
