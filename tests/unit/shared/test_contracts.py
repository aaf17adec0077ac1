"""The shapes that two services agree on."""

import re
import uuid
from datetime import UTC, datetime

import msgspec
import pytest

from parley.contracts import events, frames, ids, rpc, streams, subjects
from parley.contracts.completion import CompletionRequest
from parley.contracts.text import storable_json

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_ids_are_version_7_and_sort_by_time() -> None:
    made = [ids.new_id() for _ in range(100)]
    assert all(uuid.UUID(made_id).version == 7 for made_id in made)
    assert [made_id[:18] for made_id in made] == sorted(made_id[:18] for made_id in made)


@pytest.mark.parametrize(
    "text", ["", "x", "A1A2056C-50C7-76D7-B309-8BE3E7BCB397", "01a2056c50c776d7b3098be3e7bcb397", "*", "a.b", "x" * 999]
)
def test_anything_but_a_lower_case_uuid_is_no_id(text: str) -> None:
    assert not ids.is_id(text)


def test_an_absent_parent_differs_from_a_null_one() -> None:
    prompt = events.PromptSubmitted(chat_id="c", occurred_at=NOW, message_id="m", user_id="u", content="hi")
    assert b"parent_id" not in msgspec.json.encode(prompt)
    root = msgspec.structs.replace(prompt, parent_id=None)
    assert b'"parent_id":null' in msgspec.json.encode(root)
    assert msgspec.json.decode(msgspec.json.encode(prompt), type=events.Event) == prompt
    assert msgspec.json.decode(msgspec.json.encode(root), type=events.Event) == root


def test_unknown_fields_of_an_event_are_ignored() -> None:
    body = msgspec.json.encode(
        events.GenerationRequested(chat_id="c", occurred_at=NOW, generation_id="g", message_id="m", request=2)
    )
    later = body[:-1] + b',"added_later":{"x":1}}'
    assert msgspec.json.decode(later, type=events.Event) == msgspec.json.decode(body, type=events.Event)


def test_the_same_fact_has_the_same_id() -> None:
    finished = events.GenerationFinished(
        chat_id="c", occurred_at=NOW, generation_id="g", message_id="m", attempt=2, outcome="complete", text="a"
    )
    assert finished.id == "g:2:finished"
    assert msgspec.structs.replace(finished, text="b").id == finished.id


def test_a_delta_on_the_bus_is_the_frame_of_the_socket() -> None:
    delta = frames.Delta(chat_id="c", generation_id="g", attempt=1, from_=58, to=60, kind="text", text="…")
    assert msgspec.json.decode(msgspec.json.encode(delta)) == {
        "type": "delta",
        "chat_id": "c",
        "generation_id": "g",
        "attempt": 1,
        "from": 58,
        "to": 60,
        "kind": "text",
        "text": "…",
    }


def test_every_durable_consumer_reads_a_declared_stream_that_takes_its_subject() -> None:
    taken = {stream.name: stream.subjects for stream in streams.STREAMS}
    for consumer in streams.CONSUMERS:
        assert consumer.filter_subject in taken[consumer.stream]


def test_every_subject_is_built_as_its_template_says() -> None:
    built = {
        "prompt_submitted": subjects.prompt_submitted("{chat}"),
        "generation_requested": subjects.generation_requested("{chat}"),
        "generation_segment": subjects.generation_segment("{chat}"),
        "generation_finished": subjects.generation_finished("{chat}"),
        "live_delta": subjects.live_delta("{chat}"),
        "live_generation": subjects.live_generation("{chat}"),
        "live_changed": subjects.live_changed("{chat}"),
        "live_rejected": subjects.live_rejected("{chat}"),
        "live_presence": subjects.live_presence("{chat}"),
        "user_chats": subjects.user_chats("id").replace("id", "{user}"),
        "rpc_store": subjects.rpc_store("{verb}"),
        "rpc_models_list": subjects.RPC_MODELS_LIST,
        "rpc_generation_snapshot": subjects.rpc_generation_snapshot("{generation}"),
        "ctl_generation_stop": subjects.ctl_generation_stop("{generation}"),
        "ctl_generation_decided": subjects.ctl_generation_decided("{generation}"),
        "ctl_search_cancel": subjects.ctl_search_cancel("{search}"),
        "ctl_ticket_used": subjects.CTL_TICKET_USED,
        "ctl_identity_revoked": subjects.CTL_IDENTITY_REVOKED,
        "dead_letter": subjects.dead_letter("{consumer}", "{chat}"),
        "audit": subjects.audit("{kind}"),
        "write_probe": subjects.WRITE_PROBE,
    }
    assert built == subjects.TEMPLATES


def test_no_users_id_reaches_another_subject() -> None:
    ids = ("ann", "ann.chats", "*", ">", "a b", "a%20b", "a\r\nPUB x 0", "é")
    built = {subjects.user_chats(user_id) for user_id in ids}
    assert len(built) == len(ids)
    for subject in built:
        assert re.fullmatch(r"user\.[^\s.*>]+\.chats", subject)


def test_a_refusal_is_distinguished_from_a_reply() -> None:
    decoder = msgspec.json.Decoder(rpc.Claimed | rpc.ClaimRefused | rpc.RpcError)
    refusal = rpc.RpcError(code="not_found", message="No such chat.")
    assert decoder.decode(msgspec.json.encode(refusal)) == refusal
    assert decoder.decode(msgspec.json.encode(rpc.ClaimRefused())) == rpc.ClaimRefused()


def test_events_of_the_version_before_completions_are_read_as_what_they_meant() -> None:
    """They are in the streams for a week after the upgrade."""
    prompt = msgspec.json.decode(
        b'{"type":"prompt.submitted","chat_id":"c","occurred_at":"2026-01-02T03:04:05Z","v":1,"message_id":"m",'
        b'"user_id":"u","content":"hi","parent_id":null,"model":null}',
        type=events.PromptSubmitted,
    )
    assert (prompt.answer_id, prompt.completion, prompt.when_busy) == (None, None, "enqueue")
    finished = msgspec.json.decode(
        b'{"type":"generation.finished","chat_id":"c","occurred_at":"2026-01-02T03:04:05Z","v":1,"generation_id":"g",'
        b'"message_id":"m","attempt":1,"outcome":"complete","text":"a","reasoning":"","model":"demo","usage":null,'
        b'"error":null,"finish_reason":"stop"}',
        type=events.GenerationFinished,
    )
    assert (finished.tool_calls, finished.layout) == ([], [])


def test_nul_is_replaced_in_every_text_of_a_struct() -> None:
    asked = CompletionRequest(parameters={"\x00": ["\x00", {"deep": "a\x00"}, 1, None]}, instructions="\x00")
    stored = storable_json(asked, CompletionRequest)
    assert stored.parameters == {"\ufffd": ["\ufffd", {"deep": "a\ufffd"}, 1, None]}
    assert stored.instructions == "\ufffd"
    spelled = CompletionRequest(instructions="\\u0000")
    assert storable_json(spelled, CompletionRequest) == spelled, "a backslash and what follows is text"


def test_a_derived_id_is_the_same_for_the_same_names_and_tells_itself_from_others() -> None:
    one = ids.derived_id("ann", "chat", "main")
    assert one == ids.derived_id("ann", "chat", "main")
    assert one not in (ids.derived_id("ben", "chat", "main"), ids.derived_id("ann", "prompt", "main"))
    assert ids.is_id(one)
    assert ids.is_derived(one)
    assert not ids.is_derived(ids.new_id())
