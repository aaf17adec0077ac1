"""The commands that our pages tell people to type, read as a shell would."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("kubectl", "helm", "kind", "docker")
_LOOP = re.compile(r"for (\w+) in ([^;\n]+); do\n(.*?)\ndone", re.S)


@dataclass(frozen=True)
class Command:
    """One command of a page.

    Attributes:
        block: Which block of the page it stands in; commands in running text stand in none.
        words: Without redirections, quotes resolved.
    """

    page: Path
    block: int | None
    words: tuple[str, ...]

    @property
    def text(self) -> str:
        return " ".join(self.words)

    def option(self, *names: str) -> list[str]:
        """The values of an option, written as ``--name value`` or ``--name=value``."""
        found = []
        for word, following in zip(self.words, [*self.words[1:], ""], strict=True):
            name, equals, value = word.partition("=")
            if name in names:
                found.append(value if equals else following)
        return found

    def arguments(self) -> list[str]:
        """The words that are no options, after the program and without the values of its options."""
        found = []
        words = iter(self.words[1:])
        for word in words:
            if word.startswith("--"):
                if "=" not in word and word not in ("--all", "--overwrite", "--ignore-not-found", "--install"):
                    next(words, None)
            elif not word.startswith("-"):
                found.append(word)
        return found


def of_page(page: Path) -> list[Command]:
    """Return the commands of all blocks of shell, loops unrolled, and of running text, in order."""
    text = page.read_text()
    found: list[Command] = []
    for number, block in enumerate(re.findall(r"```sh\n(.*?)```", text, re.S)):
        for line in unrolled(block).splitlines():
            found += [Command(page, number, words) for words in _commands(line)]
    prose = re.sub(r"```.*?```", "", text, flags=re.S)
    for inline in re.findall(r"`((?:kubectl|helm|kind) [^`]+)`", prose):
        found += [Command(page, None, words) for words in _commands(inline)]
    return found


def unrolled(block: str) -> str:
    """Return a block with continued lines joined and each ``for`` repeated for each of its words."""

    def repeat(match: re.Match[str]) -> str:
        return "\n".join(match[3].replace(f"${match[1]}", value) for value in match[2].split())

    return _LOOP.sub(repeat, block.replace("\\\n", " "))


def _commands(line: str) -> list[tuple[str, ...]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>(){}")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    commands: list[list[str]] = [[]]
    words = iter(list(lexer))
    for word in words:
        if word in ("<", ">"):
            next(words, None)
        elif re.fullmatch(r"[|&;(){}]+", word):
            commands.append([])
        else:
            commands[-1].append(word)
    return [tuple(command) for command in commands if command and command[0] in PROGRAMS]
