"""docs/audit.md describes what the contract declares."""

from __future__ import annotations

import json
import re
import typing

import msgspec

from parley.contracts.access.audit import AuditEvent, AuditKind
from tests.unit.docs.pages import DOCS

PAGE = (DOCS / "audit.md").read_text()


def test_every_kind_is_documented() -> None:
    rows = re.findall(r"^\| (`[^|]+) \|", PAGE, re.MULTILINE)
    documented = [kind for row in rows for kind in re.findall(r"`(\w+)`", row)]
    assert sorted(documented) == sorted(typing.get_args(AuditKind))


def test_the_example_has_every_field() -> None:
    (example,) = re.findall(r"```json audit.AuditEvent\n(.+?)```", PAGE, re.DOTALL)
    event = msgspec.json.decode(example, type=AuditEvent)
    assert json.loads(msgspec.json.encode(event)) == json.loads(example)
