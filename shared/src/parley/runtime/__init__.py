"""What every service does alike: connecting to NATS, settings, logs, health, tokens, starting and stopping."""
