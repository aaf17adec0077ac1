"""All of Parley on this machine: NATS, PostgreSQL, the services and the demo model as child processes."""
