"""The output of a running answer on a terminal."""

from __future__ import annotations

from typing import TextIO

from parley.contracts.resources import Message
from parley_client.state import Generation


class Printer:
    """Writes the new text of an answer to ``out``, and notes on its state to ``notes``."""

    def __init__(self, out: TextIO, notes: TextIO) -> None:
        self._out = out
        self._notes = notes
        self._text = ""
        self._reasoning = ""
        self._retry_noted = False

    def show(self, generation: Generation) -> None:
        """Print what is new since the last call."""
        self._grow(generation.text, generation.reasoning)
        if generation.status == "retrying" and not self._retry_noted:
            self._retry_noted = True  # once, until new text arrives
            self._note("The model failed; it is retried.")

    def end(self, answer: Message) -> bool:
        """Print the rest and return whether the answer is complete."""
        self._grow(answer.content, answer.reasoning or self._reasoning)
        if self._text and not self._text.endswith("\n"):
            self._out.write("\n")
        self._out.flush()
        if answer.status == "stopped":
            self._note("The answer was stopped.")
        if answer.error is not None:
            self._note(answer.error.message)
        return answer.status == "complete"

    def _grow(self, text: str, reasoning: str) -> None:
        if not (text.startswith(self._text) and reasoning.startswith(self._reasoning)):
            self._note("The answer starts again.")
            self._text = self._reasoning = ""
        if len(reasoning) > len(self._reasoning):
            self._notes.write(reasoning[len(self._reasoning) :])
            self._notes.flush()
            self._reasoning = reasoning
        if len(text) > len(self._text):
            if not self._text and self._reasoning:
                self._notes.write("\n\n")
                self._notes.flush()
            self._out.write(text[len(self._text) :])
            self._out.flush()
            self._text = text
            self._retry_noted = False

    def _note(self, text: str) -> None:
        self._out.flush()
        self._notes.write(f"\n[{text}]\n")
        self._notes.flush()
