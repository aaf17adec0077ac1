"""Who may do what: users and their sessions, roles, the services' rights on the bus, models, the audit."""
