"""A reading of our own Dockerfile: enough of the format for what we write, and an error for the rest."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

_KNOWN = frozenset(
    {
        "ARG",
        "FROM",
        "RUN",
        "COPY",
        "ENV",
        "WORKDIR",
        "USER",
        "LABEL",
        "EXPOSE",
        "ENTRYPOINT",
        "HEALTHCHECK",
        "STOPSIGNAL",
    }
)


@dataclass(frozen=True)
class Instruction:
    """One instruction; ``value`` is all after its name, continued lines joined."""

    name: str
    value: str


@dataclass
class Stage:
    """A stage with its own instructions, without those of its base."""

    name: str
    base: str
    platform: str | None
    instructions: list[Instruction] = field(default_factory=list)

    def of(self, name: str) -> list[str]:
        return [instruction.value for instruction in self.instructions if instruction.name == name]


@dataclass(frozen=True)
class Copy:
    """``COPY``: sources and target as written."""

    sources: tuple[str, ...]
    target: str
    stage: str | None


def read(path: Path) -> tuple[dict[str, str], dict[str, Stage]]:
    """Return the global arguments and the stages by name, in order."""
    arguments: dict[str, str] = {}
    stages: dict[str, Stage] = {}
    stage: Stage | None = None
    for instruction in _instructions(path.read_text()):
        if instruction.name == "FROM":
            match = re.fullmatch(r"(?:--platform=(\S+) )?(\S+) AS (\S+)", instruction.value)
            assert match, f"every stage has a name: FROM {instruction.value}"
            stage = stages[match[3]] = Stage(match[3], match[2], match[1])
        elif stage is None:
            assert instruction.name == "ARG", instruction
            name, _, value = instruction.value.partition("=")
            arguments[name] = value
        else:
            stage.instructions.append(instruction)
    return arguments, stages


def _instructions(text: str) -> list[Instruction]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    found = []
    for line in re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines():
        name, _, value = line.partition(" ")
        assert name in _KNOWN, f"not read here: {line}"
        found.append(Instruction(name, value.strip()))
    return found


def lineage(stages: dict[str, Stage], name: str) -> list[Stage]:
    """Return the stages that ``name`` is made of, the first base first."""
    chain = [stages[name]]
    while chain[0].base in stages:
        chain.insert(0, stages[chain[0].base])
    return chain


def environment(stages: dict[str, Stage], name: str) -> dict[str, str]:
    """Return the environment that a container of the stage starts with."""
    pairs = (pair for stage in lineage(stages, name) for value in stage.of("ENV") for pair in shlex.split(value))
    return dict(pair.split("=", 1) for pair in pairs)


def copies(stage: Stage) -> list[Copy]:
    result = []
    for value in stage.of("COPY"):
        words = [word for word in value.split() if not word.startswith("--chmod=")]
        origin = words.pop(0).removeprefix("--from=") if words[0].startswith("--from=") else None
        result.append(Copy(tuple(words[:-1]), words[-1], origin))
    return result


def shell_of(run: str) -> str:
    """Return what a ``RUN`` gives to the shell, without its mounts."""
    return re.sub(r"^(--mount=\S+ )+", "", run)


def exec_form(value: str) -> list[str]:
    words: list[str] = json.loads(value)
    return words
