"""The answers of the demo model, as tokens."""

from __future__ import annotations

import re
from collections.abc import Iterator

_TOKEN = re.compile(r"\s*\S{1,6}|\s+")


def tokens(text: str) -> list[str]:
    """Cut ``text`` into pieces of about a token's size; joined they are ``text`` again."""
    return _TOKEN.findall(text)


def answer(prompt: str, turns: int) -> str:
    """A Markdown answer that mentions ``prompt``, with a heading, lists, code and a table."""
    quoted = _quote(prompt)
    words = prompt.split()
    return f"""## About “{quoted}”

You are talking to Parley's **demo model**. It is a program, not a language model: it streams this text at the speed \
of reading, so that you can see how Parley behaves. Set `OPENAI_API_KEY`, or `OPENAI_BASE_URL` for a \
server of your own such as Ollama or vLLM, to talk to a real model.

### Your message

- It has {len(words)} {"word" if len(words) == 1 else "words"} and {len(prompt)} characters.
- The longest word is *{_quote(max(words, key=len, default="none"), 40)}*.
- It is your message number {turns} in this chat.

### Things to try

1. Reload the page while this answer is still growing.
2. Open the same chat in a second window.
3. Press **Stop**, then ask again.

```python
def greet(name: str) -> str:
    \"\"\"Say hello, as every example must.\"\"\"
    return f"Hello, {{name}}!"


print(greet("Parley"))
```

| part | what it does |
|---|---|
| gateway | accepts your message, and responds once it is durable |
| chat-store | stores every message, once |
| llm-worker | streams the answer from the model |
| push | sends each token to each reader |

That was all about “{quoted}”."""


def reasoning(prompt: str) -> str:
    """What the model "thinks" before it answers."""
    return (
        f"The user says “{_quote(prompt)}”. I am a demo and do not reason about it. "
        "I will count the words, and then stream the same text as always."
    )


def refusal(prompt: str) -> str:
    return f"I'm sorry, but I can't help with “{_quote(prompt)}”."


def numbered(count: int, prompt: str) -> Iterator[str]:
    """Exactly ``count`` tokens, each different, which begin with the prompt's first words."""
    for number in range(1, count + 1):
        if number == 1:
            yield f"“{_quote(prompt)}” "
        else:
            yield f"w{number}\n" if number % 20 == 0 else f"w{number} "


def _quote(text: str, limit: int = 120) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
