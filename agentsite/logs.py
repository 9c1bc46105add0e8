"""Logging: structlog renders every line, also those of libraries, to stderr.

Log lines carry ids and sizes, never texts, keys or tokens; `redaction` masks what gets in anyway.
"""

from __future__ import annotations

import logging.config
from typing import Any

import structlog

from .redaction import Redaction


def configure(options: dict[str, Any]) -> None:
    """Set up logging for the process.

    Args:
        options: `level`, a name of the logging module; `format`, "console" or "json"; `secrets`,
            texts to mask.
    """
    redaction = Redaction(options["secrets"])
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.stdlib.ExtraAdder(allow={"status_code"}),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    as_json = options["format"] == "json"
    render = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if as_json
        else [
            structlog.dev.ConsoleRenderer(
                colors=False, exception_formatter=structlog.dev.plain_traceback
            )
        ]
    )
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "structlog": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "foreign_pre_chain": shared,
                    "processors": [
                        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                        redaction.fields,
                        *render,
                        redaction.line,
                    ],
                }
            },
            "handlers": {
                "stderr": {"class": "logging.StreamHandler", "formatter": "structlog"},
            },
            "root": {"handlers": ["stderr"], "level": options["level"]},
            "loggers": {
                # Django sets up handlers of its own first.
                "django": {"handlers": [], "level": "INFO"},
                "django.server": {"handlers": [], "level": "INFO", "propagate": True},
                # These name addresses with their query strings, or provider URLs, at INFO.
                "httpx": {"level": "WARNING"},
                "httpcore": {"level": "WARNING"},
                "uvicorn.error": {"level": "WARNING"},
                "daphne": {"level": "WARNING"},
                "asyncio": {"level": "WARNING"},
            },
        }
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.processors.StackInfoRenderer(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
