"""The HTTP edge of Parley: authenticates, validates, publishes commands, answers reads by asking chat-store."""
