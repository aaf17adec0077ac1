"""Check of the model provider: that it responds, accepts the key, and has the model."""

from __future__ import annotations

import asyncio
from typing import Final

import httpx

from llm_worker.errors import ProviderError
from llm_worker.provider.models import parse_names
from parley.contracts.rpc import ListModels
from parley.runtime.nats.errors import BusUnavailable, NoResponder, RpcRefused
from parley.runtime.nats.requests import ask
from parley_cli.doctor.report import Report
from parley_cli.doctor.target import Target
from parley_cli.servers import ServerUnusable, nats_client

_OPENAI: Final = "https://api.openai.com/v1"
_TIMEOUT: Final = 10.0
_ASK_TIMEOUT: Final = 5.0
_MAX_READ: Final = 64 * 1024
_MAX_MESSAGE: Final = 300


async def check(target: Target) -> Report:
    report = Report("provider")
    if target.openai_api_key or target.openai_base_url:
        await _ask(report, target)
    elif target.stack is None:
        report.note(
            "Neither OPENAI_API_KEY nor OPENAI_BASE_URL is set.",
            "`parley up` then answers with its demo model. Set them for a real one.",
        )
    if target.stack is not None:
        await _ask_worker(report, target)
    return report


async def _ask(report: Report, target: Target) -> None:
    base = (target.openai_base_url or _OPENAI).rstrip("/")
    headers = {"Authorization": f"Bearer {target.openai_api_key}"} if target.openai_api_key else {}
    try:
        async with httpx.AsyncClient(timeout=_TIMEOUT, headers=headers) as http, asyncio.timeout(3 * _TIMEOUT):
            await Provider(http, base, report).check(target.model)
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
        report.problem(
            f"The provider cannot be reached at {base}: {str(error) or type(error).__name__}",
            "Start it, or correct OPENAI_BASE_URL; behind a proxy, set HTTPS_PROXY.",
        )


class Provider:
    """An OpenAI-compatible API, of which only chat completions are required: many list models in another form or not.

    Args:
        base: ``OPENAI_BASE_URL``.
    """

    def __init__(self, http: httpx.AsyncClient, base: str, report: Report) -> None:
        self._http = http
        self._base = base
        self._report = report

    async def check(self, model: str) -> None:
        answer = await self._http.get(f"{self._base}/models")
        if self._refuses(answer):
            return
        models = _listed(answer) if answer.status_code == 200 else None
        if models is None:
            await self._without_list(model, answer)
            return
        self._report.ok(f"{self._base} answers and offers {len(models)} models.")
        if model and model not in models:
            await self._unlisted(model, models)
        elif not models and not model:
            self._report.note(
                "The provider lists no model.", "Install one there (ollama pull …), or set MODEL to one that it has."
            )

    async def _without_list(self, model: str, listing: httpx.Response) -> None:
        """Check whether it accepts chats all the same. An empty one costs nothing."""
        why = "it is something else" if listing.status_code == 200 else f"status {listing.status_code}"
        no_list = f"{self._base} answers, and its list of models cannot be read ({why})"
        try:
            answer = await self._complete({})
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            self._report.note(
                f"{no_list}; nor does it respond to an empty chat: {reason}", "Try it: parley chat QUESTION"
            )
            return
        if self._refuses(answer):
            return
        if not _takes_chats(answer):
            self._report.problem(
                f"What answers at {self._base} does not list models as an OpenAI-compatible API does ({why}). "
                "It does not accept chats either.",
                "Correct OPENAI_BASE_URL; it usually ends with /v1.",
            )
        elif answer.status_code >= 500:
            self._report.problem(
                f"The provider at {self._base} fails: {_error_message(answer)}", "See its log or its status page."
            )
        else:
            self._report.note(
                f"{no_list}.",
                "Nothing is wrong with that." if model else "Set MODEL to one that it has.",
            )

    async def _unlisted(self, model: str, models: list[str]) -> None:
        """Check, with a one-token request, whether it accepts a model that it does not list."""
        question = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
        unlisted = f"MODEL is {model}, which the provider does not list"
        try:
            answer = await self._complete(question)
        except httpx.TimeoutException:
            self._report.note(f"{unlisted}, and a test request timed out.", "Try it: parley chat QUESTION")
            return
        if answer.status_code == 404 or (answer.is_client_error and "model" in _error_message(answer).lower()):
            self._report.problem(f"{unlisted}. It has {_some(models)}.", "Set MODEL to one of those.")
        elif answer.is_success:
            self._report.ok(f"{unlisted}, and accepts it all the same.")
        else:
            self._report.note(f"{unlisted}, and responds: {_error_message(answer)}", "Try it: parley chat QUESTION")

    async def _complete(self, body: dict[str, object]) -> httpx.Response:
        """Post to chat completions, and read at most the beginning of the response."""
        async with self._http.stream("POST", f"{self._base}/chat/completions", json=body) as answer:
            content = b""
            if not answer.headers.get("content-type", "").startswith("text/event-stream"):
                async for piece in answer.aiter_bytes():
                    content += piece
                    if len(content) > _MAX_READ:
                        break
            # Without the headers of the transfer encoding, which the content no longer has.
            headers = {"content-type": answer.headers.get("content-type", "")}
            return httpx.Response(answer.status_code, headers=headers, content=content)

    def _refuses(self, answer: httpx.Response) -> bool:
        has_key = "authorization" in self._http.headers
        match answer.status_code:
            case 401:
                self._report.problem(
                    f"The provider at {self._base} does not accept the key."
                    if has_key
                    else f"The provider at {self._base} requires a key.",
                    "Set OPENAI_API_KEY to a valid key for this provider.",
                )
            case 403:
                self._report.problem(
                    f"The provider at {self._base} refuses this: {_error_message(answer)}",
                    "The reason may be the region, the account or the key's permissions. The key itself may be valid."
                    if has_key
                    else "It may require a key (OPENAI_API_KEY), or refuse the region.",
                )
            case _:
                return False
        return True


def _listed(answer: httpx.Response) -> list[str] | None:
    """Return the names in a list of models as llm-worker reads it; None when it is no list."""
    try:
        return parse_names(answer.content)
    except ProviderError:
        return None


def _takes_chats(answer: httpx.Response) -> bool:
    """Return whether the server has chat completions, although it refused this one."""
    if answer.status_code in (404, 405, 501):
        return "model" in _error_message(answer).lower()
    if not answer.is_success or answer.headers["content-type"].startswith("text/event-stream"):
        return True
    try:
        answer.json()
    except ValueError:
        return False
    return True


def _error_message(answer: httpx.Response) -> str:
    """Return the error message of a response on one line: providers put it in different places."""
    try:
        body: object = answer.json()
    except ValueError:
        body = None
    error = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(error, dict):
        error = next((error[key] for key in ("message", "detail", "code") if isinstance(error.get(key), str)), None)
    text = " ".join((error if isinstance(error, str) else "").split())
    return f"{text[:_MAX_MESSAGE] or answer.reason_phrase} (status {answer.status_code})."


async def _ask_worker(report: Report, target: Target) -> None:
    """List the models through the worker of a running stack, whose key may differ from the one in the environment."""
    try:
        async with nats_client(target.nats_url, "parley-doctor") as nc:
            models = await ask(nc, ListModels(), timeout=_ASK_TIMEOUT)
    except ServerUnusable:
        pass  # reported by the check of NATS
    except RpcRefused as error:
        report.problem(f"llm-worker cannot list models: {error.message}", "See its log.")
    except NoResponder:
        report.problem(
            "No llm-worker is subscribed: no answers are generated.", "See above which process does not run."
        )
    except BusUnavailable:
        report.problem("No llm-worker responds in time.", "See its log.")
    else:
        report.ok(f"llm-worker offers {len(models.items)} models, by default {models.default}.")


def _some(models: list[str]) -> str:
    return ", ".join(models[:5]) + (f" and {len(models) - 5} more" if len(models) > 5 else "") if models else "none"
