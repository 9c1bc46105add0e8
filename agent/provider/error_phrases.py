"""The codes, types and phrases by which providers' servers name errors. Pure.

A new code or phrase belongs here, with a file in tests/unit/provider_cases that contains it.
"""

from __future__ import annotations

import re
from typing import Literal

#: Codes, types and statuses by which servers name an error, in place of an HTTP status.
_STATUSES = {
    408: ("timeout", "request_timeout"),
    504: ("deadline_exceeded", "gateway_timeout"),
    429: (
        "rate_limit_exceeded",
        "rate_limit_error",
        "rate_limited",
        "too_many_requests",
        "resource_exhausted",
        "ratelimiterror",
        "throttling",
        "throttlingexception",
        "throttling_error",
        "engine_overloaded_error",
        "service_tier_capacity_exceeded",
        # Zhipu
        "1302",
        "1303",
        "1304",
        "1305",
    ),
    402: (
        "insufficient_quota",
        "billing_error",
        "insufficient_balance",
        "insufficient_credits",
        "billing_hard_limit_reached",
        "billing_not_active",
        "credit_limit",
        "payment_required",
        "quota_exceeded",
        "exceeded_current_quota_error",
        "credit_balance_exhausted",
        "1113",
        "arrearage",
    ),
    401: (
        "invalid_api_key",
        "authentication_error",
        "unauthenticated",
        "unauthorized",
        "api_key_invalid",
        "invalid_authentication",
        "invalid_authentication_error",
        "invalid_apikey",
        "auth_error",
        "1000",
        "1001",
        "1002",
        "1003",
        "1004",
    ),
    403: (
        "permission_error",
        "permission_denied",
        "forbidden",
        "access_denied",
        "content_filter",
        "content_policy_violation",
        "moderation",
        "data_inspection_failed",
        "responsibleaipolicyviolation",
        "content_moderation",
        "moderation_blocked",
        "content_filter_error",
        "1301",
    ),
    404: (
        "model_not_found",
        "not_found_error",
        "not_found",
        "notfounderror",
        "1211",
        "deploymentnotfound",
        "unknown_model",
        "invalid_model",
        "model_not_available",
        "model_not_found_error",
        "resource_not_found_error",
        "model_decommissioned",
    ),
    503: (
        "unavailable",
        "overloaded_error",
        "service_unavailable",
        "model_overloaded",
        "unavailable_error",
    ),
    500: ("internal", "server_error", "internal_error", "internal_server_error", "api_error"),
    400: (
        "invalid_request",
        "invalid_request_error",
        "invalid_prompt",
        "invalid_argument",
        "badrequesterror",
        "bad_request",
        "invalid_parameter",
        "validation",
        "1210",
        "1261",
    ),
}
STATUS_OF = {name: status for status, names in _STATUSES.items() for name in names}

TOO_LONG_CODES = {
    "context_length_exceeded",
    "request_too_large",
    "exceed_context_size_error",
    "1261",
    "string_above_max_length",
    "context_window_exceeded",
    "context_too_long",
    "input_too_long",
    "contextwindowexceedederror",
    "prompt_too_long",
    "max_context_length_exceeded",
    "model_context_window_exceeded",
    "model_max_prompt_tokens_exceeded",
    "tokens_limit_reached",
}
#: With one of these codes, the message says nothing about the conversation's length.
NOT_TOO_LONG_CODES = {"invalid_prompt"} | {
    name for name, status in STATUS_OF.items() if status != 400
}
_TOO_LONG = re.compile(
    r"(maximum|max|model'?s?|available|allowed) (context|model|prompt|input) (length|size|window)"
    r"|context (length|window|size|limit)\b.{0,200}(exceed|overflow|too (long|large|small))"
    r"|(exceed\w*|longer than|greater than|larger than|more than|beyond|over)\b[^.]{0,60}"
    r"\bcontext (length|window|size|limit)"
    r"|(prompt|input|conversation|request|message\w*) (is |are )?too (long|large)"
    r"|too many (input |prompt )?tokens|reduce the length"
    r"|exceed\w*( the)? (maximum|max)( allowed)?( number of)?( input)? (input )?tokens"
    r"|maximum number of( input)? tokens|input token count"
    r"|inputs?`? (must have less than|tokens \+ `?max_new_tokens)"
    r"|longer than the maximum (model|context|input) length"
    r"|with (a )?context length of only|context the overflows"  # LM Studio
    r"|exceed\w* (the )?(model )?token limit"  # Moonshot
    r"|configured context size"  # DS4
    r"|(range of )?input length (should be|is less than|must be|of \d+ exceeds)"  # DashScope
    r"|(prompt|input) token count of \d+ exceeds"  # Copilot
)
#: Messages about the answer's length, which the operator chose, and not the conversation's.
_OUTPUT_TOO_LONG = re.compile(
    r"max(_completion|_output|_new)?_tokens['`\"]?( or ['`\"]?max\w*['`\"]?)? "
    r"(is|are|was) (too (large|high|big)|greater|above|more)"
)

_MODERATION_CODES = {
    "content_filter",
    "content_policy_violation",
    "moderation",
    "data_inspection_failed",
    "1301",
    "responsibleaipolicyviolation",
    "content_moderation",
    "moderation_blocked",
    "safety",
    "content_filter_error",
    "flagged_input",
}

Cause = Literal["key", "credit", "model", "address", "moderation", ""]

_CREDIT = re.compile(
    r"\b(credits?|balance|billing|payment|quota|spending|funds)\b|key limit exceeded"
)
_NO_CREDIT = re.compile(
    r"(insufficient|not enough|low|no) (account )?(credits?|balance|funds|quota)"
    r"|(credits?|balance)( balance)? (is|are) (too low|insufficient|exhausted|used up)"
    r"|(used( up)?|exhausted|spent)( all)?( of)?( your| its| the)?( available)? credits"
    r"|(reached|exceeded) (its|your|the)( monthly| hard)? spending limit"  # xAI, with status 429
)
_BAD_KEY = re.compile(
    r"(incorrect|invalid|missing|wrong|expired) (x-)?api[ -]?key"
    r"|api[ -]?key (is )?(not valid|invalid)"
)
#: The model's name, often in quotes, may stand between these phrases.
_NO_MODEL = re.compile(
    r"\bmodel\b[^.\n]{0,120}?"
    r"(not (found|exist|available|known)|(does not|doesn't) exist|decommissioned|deprecated)"
    r"|(no such|unknown|invalid|unrecognized) model|model name passed"
    r"|not a valid model|model (identifier|id|name) is (invalid|not valid)"
)
_MODEL = re.compile(r"model|deployment|endpoints|\b1211\b")


def says_no_credit(message: str) -> bool:
    """Whether a message, in lower case, says that the account's credit is used up."""
    return bool(_NO_CREDIT.search(message))


def says_too_long(message: str) -> bool:
    """Whether a message, in lower case, says that the conversation does not fit the model."""
    return not _OUTPUT_TOO_LONG.search(message) and bool(_TOO_LONG.search(message))


def cause_of(status: int, names: set[str], message: str) -> Cause:
    """Return why a request was refused.

    Args:
        status: the HTTP status, or the one that the document gives.
        names: the error's codes and types, in lower case.
        message: the error's message, in lower case; it decides where the codes do not.
    """
    if names & _MODERATION_CODES:
        return "moderation"
    statuses = {status} | {STATUS_OF[name] for name in names if name in STATUS_OF}
    if 402 in statuses or (status == 403 and _CREDIT.search(message)):
        return "credit"
    if statuses & {401, 403}:
        return "key"
    if 404 in statuses:
        return "model" if _MODEL.search(" ".join((message, *names))) else "address"
    if status < 400 or status == 405:
        return "address"
    if status not in (400, 422):
        return ""
    if says_no_credit(message):
        return "credit"
    if _BAD_KEY.search(message):
        return "key"
    return "model" if _NO_MODEL.search(message) else ""
