"""Write ``authorization.conf`` from ``parley.contracts.access.permissions``; passwords come from the environment."""

from pathlib import Path

from parley.runtime.nats.authorization import render

Path(__file__).with_name("authorization.conf").write_text(render())
