"""The model provider: that it answers, takes the key, and has the model."""

from __future__ import annotations

from typing import Final

import httpx
import msgspec
import nats.errors

from parley.contracts import subjects
from parley.contracts.rpc import ListModels, ModelList
from parley.runtime import bus
from parley_tools.doctor.patient import Patient
from parley_tools.doctor.report import Report

_OPENAI: Final = "https://api.openai.com/v1"
_TIMEOUT: Final = 10.0
_ASK_TIMEOUT: Final = 5.0


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


async def check(patient: Patient) -> Report:
    report = Report("provider")
    if patient.openai_api_key or patient.openai_base_url:
        await _ask(report, patient)
    elif patient.stack is None:
        report.note(
            "Neither OPENAI_API_KEY nor OPENAI_BASE_URL is set.",
            "`parley up` then answers with its demo model. Set them for a real one.",
        )
    if patient.stack is not None:
        await _ask_worker(report, patient)
    return report


async def _ask(report: Report, patient: Patient) -> None:
    base = (patient.openai_base_url or _OPENAI).rstrip("/")
    headers = {"Authorization": f"Bearer {patient.openai_api_key}"} if patient.openai_api_key else {}
    try:
        async with httpx.AsyncClient(timeout=_TIMEOUT) as http:
            answer = await http.get(f"{base}/models", headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        report.problem(
            f"The provider cannot be reached at {base}: {str(error) or type(error).__name__}",
            "Start it, or correct OPENAI_BASE_URL; behind a proxy, set HTTPS_PROXY.",
        )
        return
    if answer.status_code in (401, 403):
        report.problem(
            f"The provider at {base} does not accept the key." if headers else f"The provider at {base} wants a key.",
            "Set OPENAI_API_KEY to a valid key for this provider.",
        )
        return
    try:
        if answer.status_code != 200:
            raise ValueError(f"status {answer.status_code}")
        models = [model.id for model in msgspec.json.decode(answer.content, type=_Models).data]
    except (ValueError, msgspec.MsgspecError) as error:
        report.problem(
            f"What answers at {base} does not list models as an OpenAI-compatible API does ({error}).",
            "Correct OPENAI_BASE_URL; it usually ends with /v1.",
        )
        return
    report.ok(f"{base} answers and offers {len(models)} models.")
    if patient.model and patient.model not in models:
        report.problem(
            f"MODEL is {patient.model}, which the provider does not list. It has {_some(models)}.",
            "Set MODEL to one of those.",
        )
    elif not models:
        report.problem("The provider has no model.", "Install one there (ollama pull …), or use another provider.")


async def _ask_worker(report: Report, patient: Patient) -> None:
    """What the worker of a running stack makes of it: its key may not be the one in this terminal."""
    try:
        nc = await bus.connect(patient.nats_url, name="parley-doctor")
    except (nats.errors.Error, OSError):
        return  # told by the check of NATS
    try:
        models = await bus.request(nc, subjects.RPC_MODELS_LIST, ListModels(), ModelList, timeout=_ASK_TIMEOUT)
    except bus.RpcRefused as error:
        report.problem(f"llm-worker cannot list models: {error.message}", "Its log says more.")
    except bus.NoResponder:
        report.problem("No llm-worker listens: nobody makes answers.", "See above which process does not run.")
    except bus.BusUnavailable:
        report.problem("No llm-worker answers in time.", "See its log.")
    else:
        report.ok(f"llm-worker offers {len(models.items)} models, by default {models.default}.")
    finally:
        await nc.close()


def _some(models: list[str]) -> str:
    return ", ".join(models[:5]) + (f" and {len(models) - 5} more" if len(models) > 5 else "") if models else "none"
