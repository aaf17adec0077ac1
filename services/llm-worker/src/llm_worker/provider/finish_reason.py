"""Maps a provider's ``finish_reason`` to the reasons that are stored and published. No I/O.

Providers have their own words, and some report an error in place of a reason for a regular end.
"""

import re
from typing import Final

STOP: Final = "stop"
LENGTH: Final = "length"
TOOL_CALLS: Final = "tool_calls"
CONTENT_FILTER: Final = "content_filter"
INTERRUPTED: Final = "interrupted"

_WORDS: Final = (
    # Of the whole reason in lower case, with an underscore between words; the first that matches counts.
    # Cohere's ERROR_LIMIT; Z.AI's model_context_window_exceeded; Gemini's MAX_TOKENS; Mistral's model_length
    (re.compile(r"length|max_?(output_)?tokens|context_window|error_limit|token_limit"), LENGTH),
    # Gemini's SAFETY, RECITATION, BLOCKLIST, PROHIBITED_CONTENT, SPII; Zhipu's sensitive; Cohere's ERROR_TOXIC;
    # Anthropic's refusal; Bedrock's guardrail_intervened and content_filtered
    (
        re.compile(
            r"filter|safety|sensitive|recitation|blocklist|blocked|prohibited|spii|toxic|refus|guardrail|moderat|policy"
        ),
        CONTENT_FILTER,
    ),
    # Zhipu's network_error; DeepSeek's insufficient_system_resource; OpenRouter's error; vLLM's abort; Gemini's
    # MALFORMED_FUNCTION_CALL
    (
        re.compile(
            r"error|fail|abort|cancel|insufficient|overload|unavailable|time_?out|timed_out|interrupt|disconnect|"
            r"malformed|network|exception|crash"
        ),
        INTERRUPTED,
    ),
    (re.compile(r"tool|function_call"), TOOL_CALLS),
    (re.compile(r"^(stop|stop_sequence|end_turn|eos|eos_token|end|complete|completed|done|finished)$"), STOP),
)


def normalized(reason: str) -> str:
    """Return the reason as one of the constants above; an unknown word stays as it is."""
    word = re.sub(r"[^a-z]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", reason).lower()).strip("_")
    return next((name for pattern, name in _WORDS if pattern.search(word)), reason)
