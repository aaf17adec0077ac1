"""Any sequence of commands, against a model that is simple enough to be believed."""

from __future__ import annotations

import functools
import itertools
from typing import Literal

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from chat_store.domain import answers, chats, generations, prompts
from chat_store.domain.records import GenerationRecord
from chat_store.errors import Conflict, NotFound
from parley.contracts import limits
from parley.contracts.completion import WhenBusy
from tests.unit.chat_store.tables import Tables


class Turns(RuleBasedStateMachine):
    """The model: a line of prompts that wait, the one that is answered, and how each turn ended.

    Attributes:
        defers: Whether a prompt starts only when :meth:`start_the_first` allows it.
    """

    defers = False

    prompts: Bundle[str] = Bundle("prompts")
    claims: Bundle[GenerationRecord] = Bundle("claims")

    @initialize()
    def new_chat(self) -> None:
        self.numbers = itertools.count(1)
        self.forget()

    def forget(self) -> None:
        self.tables = Tables(numbers=self.numbers)
        self.tables.defers = self.defers
        self.waiting: list[str] = []
        self.answering: str | None = None
        self.attempt = 0
        self.used = 0
        self.running = False
        self.stop_asked = False
        self.ended: list[str] = []
        self.submitted: list[str] = []
        self.deleted: set[str] = set()
        self.rejected: set[str] = set()
        self.place: dict[str, str | None] = {}
        self.started: list[str] = []
        self.text: dict[str, str] = {}

    # --- the model --------------------------------------------------------------------------------------------------

    def begin(self, prompt_id: str) -> None:
        self.answering, self.attempt, self.used, self.running, self.stop_asked = prompt_id, 0, 0, False, False
        self.started.append(prompt_id)

    def end(self) -> None:
        assert self.answering is not None
        self.ended.append(self.answering)
        self.answering = None
        if self.waiting and not self.defers:
            self.begin(self.waiting.pop(0))

    def accept(self, prompt_id: str) -> None:
        """A prompt is stored that waits for its turn."""
        self.submitted.append(prompt_id)
        if self.answering is None and not self.waiting and not self.defers:
            self.begin(prompt_id)
        else:
            self.waiting.append(prompt_id)

    # --- commands ---------------------------------------------------------------------------------------------------

    @rule(target=prompts, content=st.text(min_size=1, max_size=20))
    def submit(self, content: str) -> str:
        prompt_id = self.tables.submit(content)
        self.accept(prompt_id)
        return prompt_id

    @rule(target=prompts, parent=prompts)
    def edit(self, parent: str) -> str:
        edited = self.tables.messages.get(parent)
        prompt_id = self.tables.submit("edited", parent_id=None if edited is None else edited.parent_id)
        self.accept(prompt_id)
        return prompt_id

    @rule(target=prompts)
    def reject_when_busy(self) -> str:
        prompt_id = self.tables.submit(when_busy="reject")
        if self.answering is None and not self.waiting:
            self.accept(prompt_id)
        else:
            self.rejected.add(prompt_id)
        return prompt_id

    @rule(target=prompts, parent=prompts, mode=st.sampled_from(["interrupt", "rollback"]))
    def interrupt(self, parent: str, mode: Literal["interrupt", "rollback"]) -> str:
        """The answer that is claimed ends by its worker; the one that is not, at once."""
        chosen = self.tables.messages.get(parent)
        parent_id = chosen.id if chosen is not None and chosen.status == "sent" else msgspec.UNSET
        running, tip_id = self.tables.active, self.tables.chat and self.tables.chat.tip_id
        prompt_id = self.tables.submit(when_busy=mode, parent_id=parent_id)
        if running is not None and mode == "rollback":
            self.place[prompt_id] = self.tables.prompt_of(running).parent_id
        elif isinstance(parent_id, str):
            self.place[prompt_id] = parent_id
        if self.answering is None:
            if self.waiting:
                self.submitted.append(prompt_id)
                self.waiting.insert(0, prompt_id)
                assert self.tables.history[-1].waiting == "ann", "the starter looks for it"
            else:
                self.accept(prompt_id)
            return prompt_id
        self.submitted.append(prompt_id)
        if self.running:
            assert running is not None
            assert self.tables.history[-1].stop == running.id
            self.stop_asked = True
            self.waiting.insert(0, prompt_id)
        else:
            self.waiting.insert(0, prompt_id)
            self.end()
            if self.defers:
                assert self.tables.history[-1].waiting == "ann", "the starter looks for it"
            elif prompt_id not in self.place:
                assert self.tables.messages[prompt_id].parent_id == tip_id, "it follows the answer that was stopped"
        return prompt_id

    @rule(prompt_id=prompts, mode=st.sampled_from(["enqueue", "reject", "interrupt", "rollback"]))
    def submit_again(self, prompt_id: str, mode: WhenBusy) -> None:
        stored = self.tables.messages.get(prompt_id)
        if stored is None and prompt_id not in self.rejected:
            return
        before = len(self.tables.history)
        for content in ("the same again", "hello" if stored is None else stored.content):
            self.tables.submit(content, message_id=prompt_id, when_busy=mode)
        assert len(self.tables.history) == before

    @precondition(lambda self: self.defers and self.answering is None and self.waiting)
    @rule()
    def start_the_first(self) -> None:
        """As the starter does when its author may have one more answer."""
        self.tables.defers = False
        self.tables.run(answers.start_next)
        self.tables.defers = True
        self.begin(self.waiting.pop(0))

    @rule(prompt_id=prompts)
    def take_back(self, prompt_id: str) -> None:
        try:
            self.tables.run(lambda chat: prompts.delete_queued(chat, "ann", prompt_id))
        except NotFound:
            assert prompt_id not in self.submitted
        except Conflict:
            assert prompt_id in self.started
        else:
            assert prompt_id in self.waiting or prompt_id in self.deleted
            self.deleted.add(prompt_id)
            if prompt_id in self.waiting:
                self.waiting.remove(prompt_id)

    @rule(prompt_id=prompts)
    def regenerate(self, prompt_id: str) -> None:
        answer_id = self.tables.new_id()
        try:
            self.tables.run(lambda chat: prompts.regenerate(chat, "ann", prompt_id, answer_id=answer_id, model=None))
        except Conflict:
            assert self.answering is not None or prompt_id in self.waiting
        except NotFound:
            assert prompt_id in self.deleted or prompt_id not in self.submitted
        else:
            assert self.answering is None
            self.begin(prompt_id)

    @precondition(lambda self: self.answering is not None)
    @rule(target=claims)
    def claim(self) -> GenerationRecord:
        claim_id = self.tables.new_id()
        generation = self.tables.active
        assert generation is not None
        for _ in range(2):
            claimed = self.tables.run(
                lambda chat: generations.claim(chat, generation.id, claim_id=claim_id, worker_id="w")
            )
        assert claimed is not None
        self.attempt += 1
        self.used += 1
        self.running = True
        assert claimed.generation.attempt == self.attempt
        if self.stop_asked:
            assert claimed.verdict == "stop_requested"
        else:
            assert claimed.verdict == ("exhausted" if self.used > limits.MAX_ATTEMPTS else "stream")
        return claimed.generation

    @rule(target=claims, generation=consumes(claims))
    def release(self, generation: GenerationRecord) -> MultipleResults[GenerationRecord]:
        self.tables.run(lambda chat: generations.release(chat, generation.id, generation.attempt))
        if self._is_current(generation):
            self.running = False
            self.used -= 1
        return multiple(generation)

    @rule(generation=claims, outcome=st.sampled_from(["complete", "stopped", "failed"]), text=st.text(max_size=5))
    def finish(self, generation: GenerationRecord, outcome: str, text: str) -> None:
        current = self._is_current(generation)
        assert self.tables.finish(generation, outcome=outcome, text=text) == current
        if current:
            self.text[generation.message_id] = text.replace("\x00", "�")
            self.end()

    def _is_current(self, generation: GenerationRecord) -> bool:
        active = self.tables.active
        return active is not None and active.id == generation.id and generation.attempt == self.attempt and self.running

    @rule()
    def stop(self) -> None:
        self.tables.run(generations.stop)
        if self.answering is not None:
            if self.running:
                self.stop_asked = True
            else:
                self.end()

    @precondition(lambda self: self.answering is not None)
    @rule()
    def request_until_it_fails(self) -> None:
        generation = self.tables.active
        assert generation is not None
        for request in range(generation.request, generations.MAX_REQUESTS + 1):
            self.tables.run(functools.partial(generations.request_again, generation_id=generation.id, request=request))
        self.end()

    @rule(request=st.integers(min_value=1, max_value=3))
    def request_again(self, request: int) -> None:
        generation = self.tables.active
        if generation is not None:
            self.tables.run(lambda chat: generations.request_again(chat, generation.id, request=request))
            assert self.tables.active is not None
            assert self.tables.active.request == generation.request + (generation.request == request)

    @rule()
    def delete_the_chat_and_begin_another(self) -> None:
        """What was submitted, claimed and not yet finished comes late, and must change nothing in the next one."""
        generation = self.tables.active
        self.tables.run(chats.delete)
        change = self.tables.history[-1]
        assert change.deleted
        assert change.chat.version == change.since + 1
        assert change.stop == (None if generation is None else generation.id)
        self.forget()

    # --- what always holds ------------------------------------------------------------------------------------------

    @invariant()
    def what_is_answered_is_what_the_model_answers(self) -> None:
        active = self.tables.active
        if self.answering is None:
            assert active is None
            assert not self.waiting or self.defers, "prompts wait, and nothing runs"
        else:
            assert active is not None
            assert self.tables.messages[active.message_id].parent_id == self.answering
            assert active.status == ("running" if self.running else "requested")

    @invariant()
    def the_queue_is_the_models(self) -> None:
        assert [prompt.id for prompt in self.tables.queued] == self.waiting

    @invariant()
    def no_turn_is_lost_or_doubled(self) -> None:
        prompts = {one.id: one for one in self.tables.messages.values() if one.role == "user"}
        assert sorted(prompts) == sorted(self.submitted)
        assert not self.rejected & set(prompts)
        for prompt_id, prompt in prompts.items():
            expected = "deleted" if prompt_id in self.deleted else "queued" if prompt_id in self.waiting else "sent"
            assert prompt.status == expected
            assert len(self.tables.answers_to(prompt_id)) == self.started.count(prompt_id)
        answered = [one for one in self.tables.messages.values() if one.role == "assistant"]
        running = [one for one in answered if one.status in ("pending", "streaming")]
        assert len(running) == (self.answering is not None)
        for answer in answered:
            assert answer.content == self.text.get(answer.id, "")

    @invariant()
    def a_prompt_that_rolled_back_or_chose_its_place_has_it(self) -> None:
        for prompt_id, parent_id in self.place.items():
            assert self.tables.messages[prompt_id].parent_id == parent_id

    @invariant()
    def each_request_goes_out_once(self) -> None:
        requests = [
            (change.request.id, change.request.request) for change in self.tables.history if change.request is not None
        ]
        assert len(requests) == len(set(requests))
        assert {generation_id for generation_id, _ in requests} == set(self.tables.generations)

    @invariant()
    def versions_have_no_gaps(self) -> None:
        versions = [change.chat.version for change in self.tables.history if change.visible]
        assert versions == list(range(2, 2 + len(versions)))

    @invariant()
    def every_message_hangs_on_the_tree(self) -> None:
        for message in self.tables.messages.values():
            seen = set()
            node = message
            while node.parent_id is not None:
                assert node.id not in seen
                seen.add(node.id)
                node = self.tables.messages[node.parent_id]


class DeferredTurns(Turns):
    """The same with a limit of running answers for each user."""

    defers = True


Turns.TestCase.settings = settings(max_examples=150, stateful_step_count=40)
TestTurns = Turns.TestCase
DeferredTurns.TestCase.settings = Turns.TestCase.settings
TestDeferredTurns = DeferredTurns.TestCase
