"""Classifies a provider's error by one ordered table: the first rule that matches counts. No I/O.

Providers use one status for a rate limit and for an unpaid bill, and their own words for each status, so a rule checks
both. Each pattern names the providers that use it; it is searched for in the whole text of the error, in any case.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from llm_worker.provider import error_templates as errors
from llm_worker.provider.error_templates import ErrorTemplate


class Rule(NamedTuple):
    """An error is this one when it has one of the statuses and, unless there are none, one of the patterns."""

    template: ErrorTemplate
    statuses: frozenset[int]
    words: re.Pattern[str] | None = None


def _rule(template: ErrorTemplate, statuses: set[int], patterns: Mapping[str, str] | None = None) -> Rule:
    words = re.compile("|".join(f"(?:{pattern})" for pattern in patterns), re.IGNORECASE) if patterns else None
    return Rule(template, frozenset(statuses), words)


RULES: Final = (
    _rule(
        errors.REGION,
        {400, 403, 451},
        {
            r"unsupported_country_region_territory": "OpenAI, error codes",
            r"(country|region|territory|location)[^.]{0,30} (is )?not (supported|available)": "OpenAI, Anthropic",
            r"not (supported|available) in your (country|region|location)": "Anthropic, Mistral",
            r"user location is not supported": "Google Gemini, FAILED_PRECONDITION",
        },
    ),
    _rule(
        errors.REFUSED,
        {400, 403, 406, 413, 422, 429, 451},
        {
            r"content[_ ]filter(?!_result)|content management policy|responsibleaipolicy": "Azure OpenAI, filtering",
            r"content[_ ]?policy": "OpenAI, LiteLLM",
            r"moderation_blocked|requires moderation|(was|been) flagged|flagged (for|as|by)": "OpenRouter, errors",
            r"usage (guidelines|polic)|safety_check": "xAI",
            r"safety system|limited access to this content|invalid_prompt": "OpenAI, reasoning models",
            r"data_?inspection_?failed|inappropriate content": "Alibaba DashScope, error codes",
            r"(input|output|content|prompt)[^.]{0,20}[ _]sensitive|sensitive (content|word)": "Zhipu, MiniMax",
            r"content exists risk": "DeepSeek",
            r"considered high.risk|high.risk (content|request)": "Moonshot",
            r"prohibited[ _]content|blocked by (our |the )?(safety|content)": "Google Gemini",
            r"violat\w+ ((of|our|the|any) )*[\w ]{0,20}(polic|guideline|rules|terms)": "OpenAI, Together, Groq",
            r"guardrail": "Amazon Bedrock, LiteLLM",
            r"敏感|违规|不安全": "Zhipu, Baidu",
        },
    ),
    _rule(
        errors.NO_TOOLS,
        {400, 404, 422, 500},
        {
            r"(does not|doesn'?t|not) support (\w+ )?(tools?|functions?)( (use|calling|calls?))?\b": "Ollama, Bedrock",
            r"(tools?|(tool|function) (use|calling))\W{0,2} (is|are) not (enabled|supported)": "Google, Mistral, Groq",
            r"endpoints found that support tool": "OpenRouter",
            r"enable-auto-tool-choice|tools param requires|unsupported param: tools": "vLLM, llama.cpp",
        },
    ),
    _rule(
        errors.TOOLS,
        {400, 422},
        {
            r"\btools\W{0,2}[\[.]\d|function_declarations": "OpenAI, Anthropic, Google",
            r"invalid schema for function|invalid 'tools'|invalid_function_parameters": "OpenAI",
        },
    ),
    _rule(errors.TOOL_CALL, {400, 422, 500}, {r"tool_use_failed|output_parse_failed": "Groq, error codes"}),
    _rule(
        errors.QUOTA,
        {400, 401, 402, 403, 412, 429},
        {
            r"insufficient[_ ](quota|balance|credit|funds?)": "OpenAI, DeepSeek, OpenRouter",
            r"exceeded_current_quota|account[^.]{0,30} suspended|recharge|access_terminated": "Moonshot, Fireworks",
            r"billing[_ ](hard[_ ]limit|not[_ ]active|account)|billing (quota|limit)": "OpenAI, error codes",
            r"account (is |has been |was )?(deactivated|disabled|overdue|in arrears)": "OpenAI, Baidu",
            r"arrearage|overdue.payment": "Alibaba DashScope, error codes",
            r"balance is (too low|not enough)|purchase credits": "Anthropic",
            r"(out of|no|used all)[^.]{0,30} credits?\b": "xAI, Hugging Face",
            r"spend(ing)?[_ ](limit|cap)": "Groq, xAI",
            r"usage limits?\b": "Anthropic, Z.AI",
            r"payment required|top up|upgrade to a paid": "Together, Fireworks",
            r"exceeded your monthly": "Hugging Face, Cohere",
            r"budget[_ ]?(has been )?exceeded|exceeded budget": "LiteLLM",
            r"per[ _-]?day|daily (limit|quota)|(per[ _-]?|/ ?)month|monthly (limit|quota)": "Gemini, Groq, OpenRouter",
            r"余额不足|欠费|额度": "Zhipu 1113, Baidu",
        },
    ),
    _rule(errors.QUOTA, {402}),
    _rule(
        # One request that is larger than what a minute allows: waiting does not help.
        errors.TOO_MUCH_A_MINUTE,
        {429},
        {
            r"request too large": "OpenAI, Groq",
            r"tokens must be reduced": "OpenAI",
            r"larger than (the|your) (rate|token)": "Together",
        },
    ),
    _rule(
        errors.TOO_LONG,
        {400, 413, 422, 500},
        {
            r"context[_ ]?(length|window|limit|size)[_ ]?exceed|exceed\w*[_ ]context": "OpenAI, llama.cpp, LiteLLM",
            r"(maximum|max|supported) (model )?(context|prompt|input|sequence)[ _](length|size|window|limit)": "vLLM",
            r"exceed[^.]{0,60} (context|input|prompt|sequence)[ _](length|size|window|limit)": "OpenAI, vLLM",
            r"(greater|larger|longer|more)[^.]{0,60} context (length|window|size)": "LM Studio, Together",
            r"context (length|window|size)[^.]{0,40}(exceed|only|too small)|context the overflows": "LM Studio",
            r"configured context (size|length|window)|context[^.]{0,40} overflow": "llama.cpp, LM Studio",
            r"(prompt|input|request|messages?|text)s?( \w+)? (is|are|was|were)? ?too (long|large)": "Bedrock, Ollama",
            r"request[_ ](entity[_ ])?too[_ ]large|(payload|body) too large": "Anthropic, nginx",
            r"total length of all messages|too_many_prompt_tokens": "Perplexity",
            r"too many (\w+ )?tokens": "Cohere",
            r"(prompt|input|tokens?)[^.]{0,40} exceeds? (the )?max|more than the [\d,]+ tokens": "Zhipu 1261, Baidu",
            r"token count[^.]{0,60} exceed|exceeds the maximum number of tokens": "Google Gemini",
            r"exceeded model token limit|token limit (exceeded|reached)": "Moonshot, Kimi",
            r"input tokens exceed|tokens exceed the": "OpenAI, xAI",
            r"`?inputs`? tokens \+ `?max_new_tokens`?|inputs` must have less than": "Together, Hugging Face TGI",
            r"tokens? in (the )?(prompt|messages?)[^.]{0,40} exceed": "Fireworks",
            r"reduce (the length|your (prompt|message|input))|shorten (your|the)": "Groq, OpenAI",
            r"range of input length should be|string too long": "Alibaba DashScope, OpenAI",
            r"prompt (has|contains) [\d,]+ tokens|too large for model": "Mistral",
            r"exceeds the limit of [\d,]+": "GitHub Models",
            r"maximum allowed (input|prompt|token)|longer than the model": "OpenRouter, Together",
            r"tokens? ?(超|过)|超出|过长|超长": "Zhipu 1261, Baidu",
        },
    ),
    _rule(errors.TOO_LONG, {413}),
    _rule(
        errors.KEY,
        {400, 401, 403, 404},
        {
            r"api[_ -]?key[^.]{0,40}(not valid|invalid|incorrect|missing|expired|not found|required)": "Gemini, a 400",
            r"(invalid|incorrect|missing|expired|wrong|no)[_ ]([\w ]{0,20})?api[_ -]?(key|secret)": "OpenAI, xAI",
            r"login fail|carry the api secret key": "MiniMax 1004",
            r"invalid (token|credential|authentication)|token (is )?(expired|invalid)": "Hugging Face, GitHub",
            r"authentication[_ ](fail|error)|unauthorized|unauthenticated": "DeepSeek, Ollama, Google",
        },
    ),
    _rule(errors.KEY, {401}),
    _rule(
        errors.MODEL,
        {400, 403, 404, 410, 422},
        {
            r"model[_ ]not[_ ](found|exist|available|supported)|model_not_found": "OpenAI, DeepSeek",
            r"(unknown|invalid|no such|unsupported)[_ ]model\b": "Mistral, Alibaba DashScope",
            r"model\W+(\S+ )?((does not|doesn'?t) exist|(is )?not (found|available|supported))": "vLLM, Ollama, Groq",
            r"models/\S+ is not found": "Google Gemini",
            r"not a valid model|no endpoints found|no allowed providers": "OpenRouter",
            r"no healthy deployment|passed in model=|invalid model name": "LiteLLM",
            r"(decommissioned|deprecated|retired|not available)[^.]{0,60} model|model[^.]{0,60} decommissioned": "Groq",
            r"deploymentnotfound|deployment for this resource": "Azure OpenAI",
            r"(don'?t|not|no) have access to (the |this )?model|access to model": "OpenAI, Bedrock",
            r"模型不存在": "Zhipu 1211",
        },
    ),
    _rule(errors.MODEL, {404, 410}),
    _rule(
        errors.RATE,
        {200, 400, 403, 429, 500, 503, 529},
        {
            r"rate[_ -]?limit|too many (concurrent )?requests|slow down": "OpenAI, Azure, any",
            r"throttl": "Amazon Bedrock, Alibaba DashScope",
            r"resource_exhausted": "Google Gemini",
            r"(tokens|requests) per (min|second)": "OpenAI, Groq",
        },
    ),
    _rule(errors.RATE, {429}),
    _rule(
        errors.UNAVAILABLE,
        {400, 409, 424},
        {r"overload|temporarily|try again later|at capacity|unavailable|timed? ?out": "gateways that pass an error on"},
    ),
    _rule(errors.KEY, {403}),
    # 498: Groq, no capacity; 499: Google, cancelled
    _rule(errors.UNAVAILABLE, {408, 409, 424, 425, 498, 499, *range(500, 600)}),
)

_QUOTA_OR_RATE: Final = re.compile(
    # OpenAI means an unpaid bill by these, Google a rate limit, and then names the time to wait.
    r"exceeded your current quota|quota (has been )?exceeded|out of quota|over (its |your )?quota",
    re.IGNORECASE,
)


def template_of(status: int | None, text: str, *, retry_after: float | None) -> ErrorTemplate:
    """Return the template of an error.

    Args:
        status: None where only the text is known.
        retry_after: Seconds after which the provider accepts another request.
    """
    if status in (None, 400, 401, 403, 429) and retry_after is None and _QUOTA_OR_RATE.search(text):
        return errors.QUOTA
    for template, statuses, words in RULES:
        if words is None:
            if status in statuses:
                return template
        elif (status is None or status in statuses) and words.search(text):
            return template
    return errors.UNAVAILABLE if status is None else errors.REQUEST
