"""One prompt is one trace, over all processes, from the request to the first token that a reader gets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from tests.support.stack import RunningStack
from tests.support.waiting import eventually

_SECRET = "zanzibar"


class Spans:
    """What the processes of a stack have written to ``TRACES_FILE``."""

    def __init__(self, file: Path) -> None:
        self._file = file

    @property
    def text(self) -> str:
        return self._file.read_text() if self._file.exists() else ""

    def all(self) -> list[dict[str, Any]]:
        # The last line may be half written.
        return [msgspec.json.decode(line) for line in self.text.splitlines(keepends=True) if line.endswith("\n")]

    def find(self, service: str, name: str, *, trace: str | None = None) -> dict[str, Any] | None:
        """The first span of that service and name (of that trace)."""
        for span in self.all():
            ours = span["resource"]["attributes"]["service.name"] == service and span["name"] == name
            if ours and trace in (None, span["context"]["trace_id"]):
                return span
        return None

    async def wait_for(self, service: str, name: str, *, trace: str) -> dict[str, Any]:
        found: list[dict[str, Any]] = []

        def there() -> bool:
            span = self.find(service, name, trace=trace)
            if span is not None:
                found.append(span)
            return span is not None

        await eventually(there, deadline=30, what=f"the span {name!r} of {service} in the trace")
        return found[0]


def _parent(span: dict[str, Any]) -> str:
    return str(span["parent_id"])


def _id(span: dict[str, Any]) -> str:
    return str(span["context"]["span_id"])


async def test_one_trace_leads_from_the_request_to_the_provider_and_to_the_first_token_pushed(tmp_path: Path) -> None:
    spans = Spans(tmp_path / "traces")
    environment = {"TRACES_FILE": str(tmp_path / "traces"), "LOG_FORMAT": "json"}
    async with RunningStack(tmp_path / "data", environment=environment) as stack, stack.client() as client:
        chat = await client.api.create_chat(model="demo-rate-100x50")
        async with client.watch(chat.id) as watch:
            answer = await watch.answer_to(await client.api.send(chat.id, f"Tell me about {_SECRET}"))
        assert _SECRET in answer.content
        root = spans.find("gateway", "POST /v1/chats/{chat_id}/messages")
        assert root is not None
        assert root["parent_id"] is None
        trace = root["context"]["trace_id"]

        stored = await spans.wait_for("chat-store", "chat-store-prompts process", trace=trace)
        made = await spans.wait_for("llm-worker", "llm-worker-requests process", trace=trace)
        claimed = await spans.wait_for("chat-store", "rpc.store.claim", trace=trace)
        asked = await spans.wait_for("llm-worker", "chat demo-rate-100x50", trace=trace)
        pushed = await spans.wait_for("push", "push live.{chat}", trace=trace)
        ended = await spans.wait_for("chat-store", "chat-store-finished process", trace=trace)
        await eventually(lambda: "Answer complete" in stack.log)
        (line,) = [line for line in stack.log.splitlines() if "Answer complete" in line]
        assert f'"trace_id":"{trace.removeprefix("0x")}"' in line

    assert [_parent(span) for span in (stored, made)] == [_id(root), _id(stored)]
    assert {_parent(span) for span in (claimed, asked, ended)} == {_id(made)}
    assert _parent(pushed) == _id(asked)
    assert pushed["attributes"]["parley.readers"] == 1
    assert made["attributes"]["parley.chat_id"] == chat.id

    said = asked["attributes"]
    assert said["gen_ai.operation.name"] == "chat"
    assert said["gen_ai.request.model"] == "demo-rate-100x50"
    assert said["gen_ai.response.finish_reasons"] == ["stop"]
    assert answer.usage is not None
    assert said["gen_ai.usage.input_tokens"] == answer.usage.input_tokens
    assert said["gen_ai.usage.output_tokens"] == answer.usage.output_tokens
    assert [event["name"] for event in asked["events"]] == ["first token"]

    # One span per step and not one per token; and nobody's words in any of them.
    of_trace = [span for span in spans.all() if span["context"]["trace_id"] == trace]
    assert len(of_trace) < 15
    assert [span["name"] for span in of_trace].count("push live.{chat}") == 1
    assert _SECRET not in spans.text


async def test_an_answer_that_had_to_wait_for_another_belongs_to_the_trace_of_its_own_prompt(tmp_path: Path) -> None:
    spans = Spans(tmp_path / "traces")
    environment = {"TRACES_FILE": str(tmp_path / "traces")}
    async with RunningStack(tmp_path / "data", environment=environment) as stack, stack.client() as client:
        chat = await client.api.create_chat(model="demo-rate-50x100")
        async with client.watch(chat.id) as watch:
            prompts = [await client.api.send(chat.id, text) for text in ("first", "second")]
            await watch.answer_to(prompts[1])
        sent = [span for span in spans.all() if span["name"] == "POST /v1/chats/{chat_id}/messages"]
        assert len(sent) == 2
        for root in sent:
            trace = root["context"]["trace_id"]
            await spans.wait_for("llm-worker", "chat demo-rate-50x100", trace=trace)
            await spans.wait_for("push", "push live.{chat}", trace=trace)
        queued = sent[1]
        made = spans.find("llm-worker", "llm-worker-requests process", trace=queued["context"]["trace_id"])
        assert made is not None
        assert _parent(made) == _id(queued)


async def test_a_failed_answer_is_a_failed_span_that_names_the_kind_of_failure_only(tmp_path: Path) -> None:
    spans = Spans(tmp_path / "traces")
    environment = {"TRACES_FILE": str(tmp_path / "traces")}
    async with RunningStack(tmp_path / "data", environment=environment) as stack, stack.client() as client:
        chat = await client.api.create_chat(model="demo-error-401")
        async with client.watch(chat.id) as watch:
            answer = await watch.answer_to(await client.api.send(chat.id, _SECRET))
        assert answer.status == "failed"
        root = spans.find("gateway", "POST /v1/chats/{chat_id}/messages")
        assert root is not None
        asked = await spans.wait_for("llm-worker", "chat demo-error-401", trace=root["context"]["trace_id"])
    assert asked["status"]["status_code"] == "ERROR"
    assert asked["attributes"]["error.type"] == "provider_auth"
    assert asked["events"] == []
    assert _SECRET not in spans.text
