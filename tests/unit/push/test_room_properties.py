"""For any interleaving of what may happen, what each reader has put together is the text."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Literal

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from parley.contracts.frames import Kind
from tests.unit.push.stage import Stage

kinds = st.sampled_from(["text", "text", "reasoning"])
pushes = st.integers(0, 1)
seats = st.integers(0, Stage.seats - 1)
few = st.integers(1, 3)
News = Literal["begin", "arguments", "result"]
NEWS: tuple[News, ...] = ("begin", "arguments", "arguments", "result")
news = st.sampled_from(NEWS)


class Interleavings(RuleBasedStateMachine):
    """Hypothesis chooses, and finds the shortest way to what goes wrong."""

    @initialize(turns=st.integers(0, 4))
    def begin(self, turns: int) -> None:
        self.stage = Stage(turns)

    @rule()
    def rename(self) -> None:
        self.stage.rename()

    @rule()
    def submit(self) -> None:
        self.stage.submit()

    @rule(announced=st.booleans())
    def claim(self, announced: bool) -> None:
        self.stage.claim(announced)

    @rule(kind=kinds, sizes=st.lists(few, min_size=1, max_size=4))
    def say(self, kind: Kind, sizes: list[int]) -> None:
        self.stage.say(kind, sizes)

    @rule(news=news)
    def use_tool(self, news: News) -> None:
        self.stage.use_tool(news)

    @rule()
    def finish(self) -> None:
        self.stage.finish()

    @rule(which=pushes, worker=st.booleans(), number=st.integers(1, 6))
    def deliver(self, which: int, worker: bool, number: int) -> None:
        self.stage.deliver(which, worker, number)

    @rule(which=pushes, worker=st.booleans(), number=few)
    def lose(self, which: int, worker: bool, number: int) -> None:
        self.stage.lose(which, worker, number)

    @rule(which=pushes, worker=st.booleans())
    def deliver_twice(self, which: int, worker: bool) -> None:
        self.stage.deliver_twice(which, worker)

    @rule(which=pushes)
    def flush(self, which: int) -> None:
        self.stage.flush(which)

    @rule(which=pushes)
    def ask(self, which: int) -> None:
        self.stage.ask(which)

    @rule(which=pushes)
    def reply(self, which: int) -> None:
        self.stage.reply(which)

    @rule(which=pushes)
    def arrive(self, which: int) -> None:
        self.stage.arrive(which)

    @rule(which=pushes)
    def fail(self, which: int) -> None:
        self.stage.fail(which)

    @rule(which=pushes, text=st.booleans())
    def resync(self, which: int, text: bool) -> None:
        self.stage.resync(which, text)

    @rule(which=pushes)
    def discard_unused(self, which: int) -> None:
        self.stage.discard_unused(which)

    @rule(which=pushes, events=st.booleans())
    def join(self, which: int, events: bool) -> None:
        self.stage.join(which, events)

    @rule(seat=seats, which=pushes, fresh=st.booleans(), lost=st.integers(0, 4))
    def reconnect(self, seat: int, which: int, fresh: bool, lost: int) -> None:
        self.stage.reconnect(seat, which, fresh, lost)

    @rule(seat=seats)
    def pause(self, seat: int) -> None:
        self.stage.pause(seat)

    @rule(seat=seats, writes=few)
    def pause_within(self, seat: int, writes: int) -> None:
        self.stage.pause_within(seat, writes)

    @rule(seat=seats)
    def resume(self, seat: int) -> None:
        self.stage.resume(seat)

    @invariant()
    def what_readers_have_is_what_was_said(self) -> None:
        if hasattr(self, "stage"):
            self.stage.check()

    def teardown(self) -> None:
        if hasattr(self, "stage"):
            self.stage.come_to_rest()


Interleavings.TestCase.settings = settings(
    max_examples=60, stateful_step_count=60, suppress_health_check=list(HealthCheck)
)
test_what_each_reader_has_put_together_is_the_text = Interleavings.TestCase


def walk(dice: random.Random, steps: int, *, lossy: bool = True) -> Stage:
    """A random walk in which what happens often in life happens often."""
    stage = Stage(dice.randrange(5))

    def which() -> int:
        return dice.randrange(2)

    def seat() -> int:
        return dice.randrange(Stage.seats)

    def coin() -> bool:
        return dice.random() < 0.5

    def kind() -> Kind:
        return "text" if dice.random() < 0.8 else "reasoning"

    happenings: dict[Callable[[], None], int] = {
        stage.rename: 1,
        stage.submit: 3,
        lambda: stage.claim(coin()): 2,
        lambda: stage.say(kind(), [dice.randint(1, 3) for _ in range(dice.randint(1, 4))]): 12,
        lambda: stage.use_tool(dice.choice(NEWS)): 4,
        stage.finish: 1,
        lambda: stage.deliver(which(), worker=False, number=dice.randint(1, 3)): 10,
        lambda: stage.deliver(which(), worker=True, number=dice.randint(1, 6)): 25,
        lambda: stage.lose(which(), coin(), dice.randint(1, 3)): int(lossy),
        lambda: stage.deliver_twice(which(), coin()): 2,
        lambda: stage.flush(which()): 10,
        lambda: stage.ask(which()): 12,
        lambda: stage.reply(which()): 12,
        lambda: stage.arrive(which()): 12,
        lambda: stage.fail(which()): 1,
        lambda: stage.resync(which(), coin()): int(lossy),
        lambda: stage.discard_unused(which()): 1,
        lambda: stage.join(which(), coin()): 3,
        lambda: stage.reconnect(seat(), which(), fresh=dice.random() < 0.2, lost=dice.choice((0, 0, 1, 4))): 3,
        lambda: stage.pause(seat()): 3,
        lambda: stage.pause_within(seat(), dice.randint(1, 3)): 2,
        lambda: stage.resume(seat()): 5,
    }
    for happening in dice.choices(list(happenings), list(happenings.values()), k=steps):
        happening()
        stage.check()
    return stage


@pytest.fixture(autouse=True)
def pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """In every second walk, a catch-up takes many pieces."""
    if getattr(request.node, "callspec", None) is not None and request.node.callspec.params["seed"] % 2:
        monkeypatch.setattr("push.rooms.frames.MAX_TEXT", 30)
        monkeypatch.setattr("push.rooms.readers.MAX_TEXT", 30)
        monkeypatch.setattr("push.rooms.catch_up.MAX_TEXT", 30)


@pytest.mark.parametrize("seed", range(10))
def test_long_random_walks_end_with_everyone_having_everything(seed: int) -> None:
    dice = random.Random(seed)
    for _ in range(25):
        walk(dice, 300).come_to_rest()


@pytest.mark.parametrize("seed", range(10))
def test_without_a_loss_nothing_has_to_be_noticed_by_silence(seed: int) -> None:
    dice = random.Random(seed)
    for _ in range(25):
        walk(dice, 300, lossy=False).come_to_rest(lost=False)
