"""Decodes the tool calls of a completion's chunks. No I/O.

The API documents entries with an index: the first has the id and the name, and each a fragment of the arguments.
Providers leave out the id or the index, give all calls one index, repeat the id and the name with each fragment, and
send whole calls, or arguments that are an object, or give each fragment an id of its own.
"""

import json
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from llm_worker.provider import chunks
from llm_worker.provider.surrogates import join
from parley.contracts.completion import ToolCall, ToolDelta
from parley.contracts.text import storable

_MAX_NAME: Final = 200
_MAX_ID: Final = 64 * 1024
"""Of an id, and of ``extra_content``. Either may hold the thought signature of Google's models, a thousand characters
and more; LiteLLM puts it into the id."""
_NO_IDS: Final = frozenset({"", "null", "None"})


@dataclass(kw_only=True)
class _Entry:
    """One entry of a chunk, with what the provider left out empty."""

    index: int | None
    id: str
    name: str
    arguments: str
    whole: bool
    """The arguments were an object, and not a fragment of text."""
    extra_content: str | None


@dataclass(kw_only=True, eq=False)
class _Call:
    """A call, as far as it has arrived. It begins with its name."""

    provider_id: str
    provider_index: int | None
    id: str = ""
    name: str = ""
    index: int | None = None
    arguments: list[str] = field(default_factory=list)
    size: int = 0
    unsent: str = ""
    waiting: str = ""
    extra_content: str | None = None

    def append(self, arguments: str) -> None:
        if arguments:
            self.arguments.append(arguments)
            self.size += len(arguments)
            self.unsent += arguments

    @property
    def is_complete(self) -> bool:
        """Whether the arguments are a whole object."""
        last = self.arguments[-1].rstrip() if self.arguments else ""
        if last and not last.endswith("}"):
            return False  # before they are joined: at each fragment, that would cost the square of their size
        text = "".join(self.arguments)
        self.arguments[:] = [text]
        if not text.rstrip().endswith("}"):
            return False
        try:
            return isinstance(chunks.parse(text.encode(errors="replace")), dict)
        except chunks.NotJson:
            return False

    def is_repeated_by(self, entry: _Entry) -> bool:
        """Whether an entry is the whole call again, and not its next fragment."""
        if entry.whole:
            return bool(self.arguments)
        is_as_long = bool(entry.arguments) and len(entry.arguments) == self.size
        return is_as_long and self.is_complete and self.arguments == [entry.arguments]


class ToolCallDecoder:
    """Decodes the calls of one completion.

    What it returns of one call comes before all of the next one: fragments of a later call wait for the end of the
    arguments before them.

    Args:
        first_index: The number of the answer's calls before it.
        taken_ids: Their ids; no other call gets one of them.
        server_of: Returns the name of the server of a tool that Parley runs; None for another one.
    """

    def __init__(
        self,
        *,
        first_index: int = 0,
        taken_ids: Iterable[str] = (),
        server_of: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        self._server_of = server_of
        self._next_index = first_index
        self._taken_ids = set(taken_ids)
        self._calls: list[_Call] = []
        self._done = 0
        self._by_index: dict[int, _Call] = {}
        self._by_id: dict[str, _Call] = {}
        self._before_call: tuple[str, str | None] = ("", None)

    def feed(self, entries: Iterable[Any]) -> list[ToolDelta]:
        """Return the news of a chunk's entries."""
        deltas: list[ToolDelta] = []
        for value in entries:
            if isinstance(value, Mapping):
                self._add(_entry_of(value), deltas)
        return deltas

    def add_encrypted(self, entries: Iterable[Mapping[str, Any]]) -> list[ToolDelta]:
        """Add encrypted reasoning to the extra content of the call that it belongs to, by the call's id."""
        deltas: list[ToolDelta] = []
        for entry in entries:
            identity = _word(entry.get("id"), _MAX_ID)
            extra = _extra_content_of({"extra_content": {"reasoning_details": [entry]}})
            call = self._by_id.get(identity)
            if call is None:
                # It may be that of the next call; other reasoning has an id, too.
                self._before_call = (identity, extra)
            elif call.extra_content is None and extra is not None:
                call.extra_content = extra
                if call.index is None:
                    continue
                changed = ToolCall(id=call.id, name=call.name, extra_content=extra)
                deltas.append(ToolDelta(index=call.index, call=changed))
        return deltas

    @property
    def is_complete(self) -> bool:
        """Whether no call waits for more of its arguments."""
        return all(call.is_complete for call in self._calls[self._done :])

    def close(self, *, regular: bool) -> list[ToolDelta]:
        """End the calls so far, and return what waited.

        Args:
            regular: The model has ended them: a call without arguments gets an empty object.
        """
        deltas: list[ToolDelta] = []
        for call in self._calls[self._done :]:
            rest, call.waiting = "\ufffd" if call.waiting else "", ""
            if regular and not rest and not "".join(call.arguments).strip():
                rest = "{}"
            if rest:
                call.append(rest)
            self._send(call, deltas)
        self._done = len(self._calls)
        return deltas

    def _add(self, entry: _Entry, deltas: list[ToolDelta]) -> None:
        call = self._find(entry)
        if call is None:
            call = self._start(entry)
        elif call.is_repeated_by(entry):
            return
        call.name = call.name or entry.name
        call.extra_content = call.extra_content or entry.extra_content
        text, call.waiting = join(call.waiting, entry.arguments)
        call.append(storable(text))
        if call in self._calls[: self._done]:
            self._send(call, deltas)
        while self._done < len(self._calls):
            call = self._calls[self._done]
            self._send(call, deltas)
            if call is self._calls[-1] or not call.is_complete:
                break
            self._done += 1

    def _send(self, call: _Call, deltas: list[ToolDelta]) -> None:
        """Return what is new of a call; nothing before its name."""
        if call.index is None and call.name:
            call.index = self._next_index
            self._next_index += 1
            call.id = self._unique(call.provider_id)
            begun = ToolCall(
                id=call.id,
                name=call.name,
                arguments=call.unsent,
                server=self._server_of(call.name),
                extra_content=call.extra_content,
            )
            deltas.append(ToolDelta(index=call.index, call=begun))
        elif call.index is not None and call.unsent:
            deltas.append(ToolDelta(index=call.index, arguments=call.unsent))
        else:
            return
        call.unsent = ""

    def _start(self, entry: _Entry) -> _Call:
        call = _Call(provider_id=entry.id, provider_index=entry.index)
        if entry.id and entry.id == self._before_call[0]:
            call.extra_content = self._before_call[1]
        self._calls.append(call)
        if entry.index is not None:
            self._by_index[entry.index] = call
        if entry.id:
            self._by_id.setdefault(entry.id, call)
        return call

    def _find(self, entry: _Entry) -> _Call | None:
        """The call that an entry continues; None: it starts one."""
        last = self._calls[-1] if self._calls else None
        if entry.index is not None:
            found = self._by_index.get(entry.index)
            known = self._by_id.get(entry.id)
            if known is not None and known.provider_index == entry.index:
                found = known
            elif found is None and not entry.name:
                found = known if entry.id else last
        else:
            found = self._by_id.get(entry.id, last)
        if found is None:
            return None
        if entry.id and found.provider_id:
            # A call begins with its name: without one, another id was made for a fragment.
            is_fragment = bool(entry.arguments) and not entry.name and not found.is_complete
            return found if entry.id == found.provider_id or is_fragment else None
        if entry.name and found.name and (entry.name != found.name or found.is_complete):
            return None
        return found

    def _unique(self, provider_id: str) -> str:
        name = provider_id
        while not name or name in self._taken_ids:
            name = f"call_{secrets.token_hex(12)}"
        self._taken_ids.add(name)
        return name


def _entry_of(value: Mapping[str, Any]) -> _Entry:
    function = next((value[name] for name in ("function", "custom") if isinstance(value.get(name), Mapping)), value)
    arguments = next((function[name] for name in ("arguments", "input") if function.get(name) is not None), "")
    whole = not isinstance(arguments, str)
    if whole:
        arguments = json.dumps(arguments, ensure_ascii=False, separators=(",", ":")) if arguments else ""
    identity = _word(value.get("id"), _MAX_ID)
    return _Entry(
        index=chunks.count(value.get("index")),
        id="" if identity in _NO_IDS else identity,
        name=_word(function.get("name")),
        arguments=arguments,
        whole=whole and bool(arguments),
        extra_content=_extra_content_of(value),
    )


def _extra_content_of(value: Mapping[str, Any]) -> str | None:
    extra = value.get("extra_content")
    if not isinstance(extra, dict) or not extra:
        return None
    text = json.dumps(extra, separators=(",", ":"))
    return text if len(text) <= _MAX_ID else None


def _word(value: Any, limit: int = _MAX_NAME) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        return ""
    return storable(value.strip()[:limit].encode(errors="replace").decode())
