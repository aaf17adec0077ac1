"""The settings that services would start with."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsError

from parley.runtime.settings import reason, unreadable
from parley.runtime.tokens import MIN_KEY_BYTES
from parley_cli.doctor.report import Report
from parley_cli.doctor.target import Target

_CLASSES: Final = {
    "gateway": ("gateway.settings", "Settings"),
    "chat-store": ("chat_store.settings", "Settings"),
    "llm-worker": ("llm_worker.settings", "WorkerSettings"),
    "push": ("push.settings", "Settings"),
}
_KEY: Final = "SECRET_KEY"
_INSTEAD: Final = {
    "nats_url": "nats://127.0.0.1",
    "database_url": "postgresql://127.0.0.1/parley",
    "secret_key": MIN_KEY_BYTES * "-",
}
"""Values for what may be missing."""


def _errors(kind: Callable[..., BaseSettings], **instead: str) -> list[ErrorDetails]:
    """Return what is missing and what is wrong. Settings are compared with each other only once none is missing."""
    try:
        kind(**instead)
    except ValidationError as error:
        errors = error.errors()
        names = {str(part) for item in errors for part in item["loc"]}
        if not instead and names and names <= _INSTEAD.keys() and all(item["type"] == "missing" for item in errors):
            return errors + _errors(kind, **{name: _INSTEAD[name] for name in names})
        return errors
    return []


def check(target: Target) -> Report:
    """Report invalid and missing values."""
    report = Report("settings")
    problems: dict[tuple[str, str], list[str]] = {}
    missing: dict[str, list[str]] = {}
    for service, (module, name) in _CLASSES.items():
        try:
            errors = _errors(getattr(import_module(module), name))
        except SettingsError as error:
            problems.setdefault(unreadable(error), []).append(service)
            continue
        for item in errors:
            variable = "_".join(str(part) for part in item["loc"]).upper()
            if variable == _KEY and target.secret_key:
                continue  # reported below, with how to make a key
            if item["type"] == "missing":
                missing.setdefault(variable, []).append(service)
            else:
                problems.setdefault((variable, reason(item)), []).append(service)
    for (variable, why), services in problems.items():
        # What concerns several settings has no name of its own, and names them itself.
        text = f"{variable}: {why}" if variable else why
        report.problem(f"{text} ({', '.join(services)}).", f"Correct {variable or 'one of them'}.")
    if target.secret_key and len(target.secret_key.encode()) < MIN_KEY_BYTES:
        report.problem(
            f"SECRET_KEY has {len(target.secret_key.encode())} bytes, and needs {MIN_KEY_BYTES} or more.",
            "Make one with `python3 -c 'import secrets; print(secrets.token_urlsafe(48))'`; every gateway and push "
            "needs the same one.",
        )
    if target.stack is None:
        for variable, services in missing.items():
            report.note(
                f"{variable} is not set, and {', '.join(services)} cannot start without it.",
                "`parley up` needs none of these: it sets them itself.",
            )
    if not any(finding.level == "problem" for finding in report.findings):
        report.ok("All settings are valid.")
    return report
