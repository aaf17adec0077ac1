"""A real nats-server and a real PostgreSQL as child processes, with their data in a folder of the caller's."""
