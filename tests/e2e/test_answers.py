"""Messages and their answers, as a program sees them."""

import asyncio
import json

from parley.contracts.ids import new_id
from parley.contracts.resources import Message
from parley_client import ChatState, ParleyClient
from tests.support.stack import RunningStack


async def _ask(client: ParleyClient, chat_id: str, content: str, **fields: str) -> Message:
    async with client.watch(chat_id) as watch:
        return await watch.answer_to(await client.api.send(chat_id, content, **fields))


async def test_an_answer_grows_and_ends_as_it_is_stored(client: ParleyClient) -> None:
    chat = await client.api.create_chat(model="demo")
    lengths: list[int] = []
    async with client.watch(chat.id) as watch:
        watch.on_frame = lambda frame: lengths.append(len(watch.state.generation.text) if watch.state.generation else 0)
        prompt = await client.api.send(chat.id, "Tell me about hippos")
        last = ""

        def ended(state: ChatState) -> bool:
            nonlocal last
            if state.generation is not None:
                last = state.generation.text
            return bool([a for a in state.answers_to(prompt) if a.status == "complete"])

        await watch.until(ended)
    stored = (await client.api.all_messages(chat.id))[-1]
    assert last == stored.content
    assert "hippos" in stored.content
    assert len({length for length in lengths if length}) > 50, "the text came in many pieces"
    assert stored.usage is not None
    assert stored.usage.output_tokens > 100
    assert (await client.api.chat(chat.id)).title == "Tell me about hippos"


async def test_the_model_is_given_the_history_of_the_branch(client: ParleyClient) -> None:
    chat = await client.api.create_chat(model="demo-echo", system_prompt="Be brief.")
    first = await _ask(client, chat.id, "one")
    assert json.loads(first.content)["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "one"},
    ]
    second = await _ask(client, chat.id, "two")
    assert json.loads(second.content)["messages"][1:] == [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": "two"},
    ]
    # An edit of the first message: another branch, which knows nothing of the first one.
    edited = await _ask(client, chat.id, "other", parent_id=None)  # type: ignore[arg-type]
    assert json.loads(edited.content)["messages"][1:] == [{"role": "user", "content": "other"}]


async def test_a_message_sent_while_an_answer_runs_is_answered_next(client: ParleyClient) -> None:
    chat = await client.api.create_chat(model="demo-rate-100x100")
    async with client.watch(chat.id) as watch:
        prompts = [await client.api.send(chat.id, f"number {n}") for n in range(4)]
        answers = [await watch.answer_to(prompt) for prompt in prompts]
    assert all(f"number {n}" in answer.content for n, answer in enumerate(answers))
    branch = [message.id for message in await client.api.all_messages(chat.id) if message.role == "user"]
    assert sorted(branch) == sorted(prompts)
    parents = {message.id: message.parent_id for message in await client.api.all_messages(chat.id)}
    assert [parents[prompt] for prompt in prompts] == [None, *(answer.id for answer in answers[:-1])]


async def test_fifty_sends_of_one_message_are_one_message_with_one_answer(client: ParleyClient) -> None:
    chat = await client.api.create_chat(model="demo-fast")
    message_id = new_id()
    async with client.watch(chat.id) as watch:
        ids = await asyncio.gather(*[client.api.send(chat.id, "only once", message_id=message_id) for _ in range(50)])
        assert set(ids) == {message_id}
        await watch.answer_to(message_id)
        await client.api.send(chat.id, "only once", message_id=message_id)
        marker = await client.api.send(chat.id, "marker")
        await watch.answer_to(marker)
    messages = await client.api.all_messages(chat.id)
    assert [(m.role, m.content if m.role == "user" else "") for m in messages] == [
        ("user", "only once"),
        ("assistant", ""),
        ("user", "marker"),
        ("assistant", ""),
    ]


async def test_twenty_chats_at_once_do_not_mix(stack: RunningStack) -> None:
    async def talk(number: int) -> tuple[int, str, str]:
        async with stack.client() as client:
            chat = await client.api.create_chat(model="demo-rate-100x150")
            answer = await _ask(client, chat.id, f"secret-{number:03}-word")
            async with client.watch(chat.id) as watch:
                await watch.until(lambda state: state.message(answer.id))
                seen = watch.state.message(answer.id)
            assert seen is not None
            return number, answer.content, seen.content

    for number, text, seen in await asyncio.gather(*[talk(number) for number in range(20)]):
        assert text == seen
        assert f"secret-{number:03}-word" in text
        assert text.count("secret-") == 1


async def test_a_stop_ends_the_answer_with_what_was_said(client: ParleyClient) -> None:
    chat = await client.api.create_chat(model="demo-rate-20x2000")
    async with client.watch(chat.id) as watch:
        prompt = await client.api.send(chat.id, "stop me")
        await watch.until(lambda state: state.generation and len(state.generation.text) > 30)
        await client.api.stop(chat.id)
        answer = await watch.answer_to(prompt, timeout=10)
    assert answer.status == "stopped"
    assert "stop me" in answer.content


async def test_an_answer_can_be_made_again(client: ParleyClient) -> None:
    chat = await client.api.create_chat(model="demo-error-mid-stream-x3")
    async with client.watch(chat.id) as watch:
        prompt = await client.api.send(chat.id, "fails first")
        failed = await watch.answer_to(prompt)
        assert failed.status == "failed"
        assert failed.error is not None
        assert failed.error.retryable
        assert failed.content
        await client.api.regenerate(chat.id, failed.id)
        again = await watch.until(
            lambda state: next((a for a in state.answers_to(prompt) if a.status == "complete"), None)
        )
    assert again.id != failed.id
    assert "fails first" in again.content


async def test_a_chat_of_thirty_turns_is_read_in_pages(client: ParleyClient) -> None:
    chat = await client.api.create_chat(model="demo-rate-1000x20")
    async with client.watch(chat.id) as watch:
        for turn in range(30):
            await watch.answer_to(await client.api.send(chat.id, f"turn {turn}"))
    messages = await client.api.all_messages(chat.id)
    assert [m.content for m in messages if m.role == "user"] == [f"turn {turn}" for turn in range(30)]
    assert all(m.status == "complete" and m.content for m in messages if m.role == "assistant")
    page = await client.api.messages(chat.id, limit=10)
    assert [m.id for m in page.items] == [m.id for m in messages[-10:]]
