"""The routes of design §5.2, one module per resource; each has ``add_routes``."""
