"""Django settings, from variables that `environment` reads.

Each variable is described in README.md and .env.example.
"""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path
from typing import Any

from csp.constants import NONE, SELF
from django.conf import global_settings
from django.core.exceptions import ImproperlyConfigured

from agent.provider.request import REASONING_EFFORTS, endpoint

from . import addresses, databases, environment
from .environment import choice, env, flag, header, integer, number, text, unless_empty, word_list
from .redaction import secrets_of

#: The longest retention that is accepted; short enough for the arithmetic of dates.
MOST_DAYS = 36500

BASE_DIR = Path(__file__).resolve().parent.parent

#: The shortest SECRET_KEY of a server; Django's check requires as many.
KEY_CHARS = 50

environment.load(BASE_DIR / ".env")


def _generated_key(path: Path) -> str:
    """Return a key that is generated once, and stored in a file that only its owner can read."""
    try:
        with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(48))
    except FileExistsError:
        pass
    return path.read_text()


def _former_keys(raw: str) -> tuple[str, ...]:
    keys = tuple(key for part in raw.split(",") if (key := part.strip()))
    if not DEBUG and any(len(key) < KEY_CHARS for key in keys):
        raise ValueError
    return keys


DEBUG = flag("DEBUG", False)

SECRET_KEY = text("SECRET_KEY", "")
_key_is_generated = DEBUG and not SECRET_KEY
if _key_is_generated:
    SECRET_KEY = _generated_key(BASE_DIR / ".secret_key")
elif not DEBUG and len(SECRET_KEY) < KEY_CHARS:
    raise ImproperlyConfigured(
        f"SECRET_KEY: expected at least {KEY_CHARS} random characters"
        " (or DEBUG=1 on your own machine)"
    )
_no_keys: tuple[str, ...] = ()
SECRET_KEY_FALLBACKS = list(
    env(
        "SECRET_KEY_FALLBACKS",
        _no_keys,
        f"former keys, by commas, each of at least {KEY_CHARS} characters",
        _former_keys,
    )
)

HOST = text("HOST", "127.0.0.1")  # what `manage.py serve` listens on
PORT = integer("PORT", 8000, least=0, most=65535)
_hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "[::1]")
ALLOWED_HOSTS = list(
    env("ALLOWED_HOSTS", _hosts, "names of this site, by commas: chat.example.org", addresses.hosts)
)
HTTPS_ONLY = flag("HTTPS_ONLY", not DEBUG)
SECURE_COOKIES = flag("SECURE_COOKIES", HTTPS_ONLY)
TRUSTED_PROXIES: tuple[str, ...] = env(
    "TRUSTED_PROXIES",
    (),
    "addresses or networks, by commas, and not all there are",
    addresses.networks,
)
_allowed_origins: tuple[str, ...] = env(
    "ALLOWED_ORIGINS",
    (),
    "origins with their scheme, by commas: https://example.org",
    addresses.origins,
)

BASE_PATH: str = env(
    "BASE_PATH", "", "a path such as /chat, of letters, digits and - _ . ~", addresses.base_path
)
FORCE_SCRIPT_NAME = BASE_PATH or None

ROOT_URLCONF = "agentsite.urls"
ASGI_APPLICATION = "agentsite.asgi.application"

INSTALLED_APPS = [
    "agentsite.apps.AdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "agent",  # before the apps below, so that its runserver is used
    "servestatic.runserver_nostatic",
    "django.contrib.staticfiles",
    "channels",
    "csp",
]

MIDDLEWARE = [
    "agentsite.headers.middleware",  # first: it adds headers to the responses of all others
    "csp.middleware.CSPMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "agent.api.errors.ErrorsAsJson",
    "servestatic.middleware.ServeStaticMiddleware",
    "agent.api.gate.Gate",  # before every middleware that reads the database
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "agentsite.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]


# Database

DATABASES = {
    "default": env(
        "DATABASE_URL",
        databases.sqlite(BASE_DIR / "db.sqlite3"),
        "postgres://user:password@host:5432/name or sqlite:////path/of/a/file",
        lambda raw: databases.database(raw, BASE_DIR),
    )
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"


# Between processes

REDIS_URL = env(
    "REDIS_URL",
    "",
    "redis://host:6379/0, rediss://host:6379/0 or unix:///path/of/a/socket",
    addresses.redis,
)

CHANNEL_LAYERS: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}
}
if REDIS_URL:
    # Pub/sub: the core layer drops messages when a channel has 100 unread ones, and sessions share
    # that bound. Messages that pub/sub loses in a restart are read from the database.
    CHANNEL_LAYERS["default"] = {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {
            "hosts": [{"address": REDIS_URL, "socket_connect_timeout": 1, "socket_timeout": 5}],
            "prefix": "agent",
        },
    }


# Static files

STATIC_URL = f"{BASE_PATH}/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
SERVESTATIC_USE_FINDERS = DEBUG
SERVESTATIC_AUTOREFRESH = DEBUG
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "agentsite.storage.StaticStorage"
    },
}


# Security

SECURE_SSL_REDIRECT = HTTPS_ONLY
_PATH = re.escape(f"{BASE_PATH}/".removeprefix("/"))
#: Probes, and sockets: a redirect in place of a handshake is an error without a message.
SECURE_REDIRECT_EXEMPT = [
    rf"^{_PATH}(?:ws/|functions/v1/agent_websocket/?$|healthz$|readyz$|metrics$)"
]
SECURE_HSTS_SECONDS = 31536000 if HTTPS_ONLY else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS_ONLY
SECURE_HSTS_PRELOAD = HTTPS_ONLY
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_COOKIES
SESSION_ENGINE = "agent.access.logins"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_PATH = CSRF_COOKIE_PATH = f"{BASE_PATH}/"
# A cookie with such a prefix was set by this host over HTTPS: no other subdomain can plant one.
_COOKIE = "" if not SECURE_COOKIES else "__Secure-" if BASE_PATH else "__Host-"
SESSION_COOKIE_NAME = f"{_COOKIE}sessionid"
CSRF_COOKIE_NAME = f"{_COOKIE}csrftoken"
VISITOR_COOKIE_NAME = f"{_COOKIE}agent_visitor"
# Django's messages for staff: in the session, since their cookie's name has no such prefix.
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
# HTTPS_ONLY=0 means that the proxy redirects and sends HSTS, or that there is no HTTPS.
# agent.checks warns where that is unsafe.
SILENCED_SYSTEM_CHECKS = (
    [] if HTTPS_ONLY else [f"security.{name}" for name in ("W004", "W008", "W012", "W016")]
)
DEFAULT_EXCEPTION_REPORTER = "agentsite.reports.ExceptionReporter"
DEFAULT_EXCEPTION_REPORTER_FILTER = "agentsite.reports.ExceptionReporterFilter"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "manifest-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = LOGOUT_REDIRECT_URL = "chat"
PASSWORD_HASHERS = ["agent.access.password_hashing.Pbkdf2", *global_settings.PASSWORD_HASHERS[1:]]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]


# Language and time

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English")]  # more: agent/locale/, agent/static/agent/page/i18n/labels/
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True


# Logs

LOG_LEVEL = env(
    "LOG_LEVEL",
    "INFO",
    "DEBUG, INFO, WARNING or ERROR",
    lambda raw: {level: level for level in ("DEBUG", "INFO", "WARNING", "ERROR")}[raw.upper()],
)
LOG_FORMAT = env(
    "LOG_FORMAT", "console", "console or json", lambda raw: {"console": raw, "json": raw}[raw]
)
LOGGING_CONFIG = "agentsite.logs.configure"
LOGGING: dict[str, Any] = {"level": LOG_LEVEL, "format": LOG_FORMAT}


# The agent

_DEFAULT_BASE_URL = "https://openrouter.ai/api/v1"
_api_key = header("OPENROUTER_API_KEY")
_metrics_token = header("METRICS_TOKEN")


def _provider_url(raw: str) -> str:
    endpoint(raw)  # raises for an invalid address
    return raw.rstrip("/")


_base_url = env(
    "OPENROUTER_BASE_URL",
    _DEFAULT_BASE_URL,
    "an address that starts with http:// or https://, without a fragment",
    _provider_url,
)

LOGGING["secrets"] = secrets_of(
    SECRET_KEY,
    *SECRET_KEY_FALLBACKS,
    _api_key,
    REDIS_URL,
    _metrics_token,
    *(str(base.get("PASSWORD", "")) for base in DATABASES.values()),
    *endpoint(_base_url).secrets,
)

AGENT: dict[str, Any] = {
    "openrouter_api_key": _api_key,
    "openrouter_base_url": _base_url,
    "demo": not _api_key and _base_url == _DEFAULT_BASE_URL,
    "model": text("MODEL", "openai/gpt-4-turbo"),
    "fallback_models": word_list("FALLBACK_MODELS"),
    "agent_name": text("AGENT_NAME", "agent_websocket"),
    "system_prompt": unless_empty(
        "SYSTEM_PROMPT",
        text(
            "SYSTEM_PROMPT",
            "You are Agent WebSocket, an AI assistant communicating via WebSocket.",
        ),
    )
    or "",
    "temperature": unless_empty("TEMPERATURE", number("TEMPERATURE", 0.7, zero=True, most=2)),
    "max_tokens": unless_empty("MAX_TOKENS", integer("MAX_TOKENS", 1500)),
    "reasoning": choice("REASONING", "show", ("show", "hide", "off")),
    "reasoning_effort": choice("REASONING_EFFORT", "", REASONING_EFFORTS),
    "max_history": integer("MAX_HISTORY", 50),
    "provider_connect_timeout": number("PROVIDER_CONNECT_TIMEOUT", 10),
    "provider_first_token_timeout": number("PROVIDER_FIRST_TOKEN_TIMEOUT", 60),
    "provider_token_timeout": number("PROVIDER_TOKEN_TIMEOUT", 30),
    "provider_total_timeout": number("PROVIDER_TOTAL_TIMEOUT", 600),
    "session_timeout": number("SESSION_TIMEOUT", 30),
    "retention_days": number("RETENTION_DAYS", 30, most=MOST_DAYS),
    "lease_seconds": number("LEASE_SECONDS", 15),
    "drain_seconds": number("DRAIN_SECONDS", 20, zero=True),
    "max_queue": integer("MAX_QUEUE", 20),
    "max_concurrent_turns": integer("MAX_CONCURRENT_TURNS", 200),
    "max_query_chars": integer("MAX_QUERY_CHARS", 32000),
    "max_frame_bytes": integer("MAX_FRAME_BYTES", 262144, least=1024, most=2**24),
    "heartbeat_interval": number("HEARTBEAT_INTERVAL", 25),
    "max_connections_per_user": integer("MAX_CONNECTIONS_PER_USER", 10),
    "max_connections_per_address": integer("MAX_CONNECTIONS_PER_ADDRESS", 200),
    "max_connects_per_minute": integer("MAX_CONNECTS_PER_MINUTE", 120),
    "max_requests_per_user": integer("MAX_REQUESTS_PER_USER", 8),
    "max_requests_per_address": integer("MAX_REQUESTS_PER_ADDRESS", 64),
    "max_queries_per_minute": integer("MAX_QUERIES_PER_MINUTE", 30),
    "max_writes_per_minute": integer("MAX_WRITES_PER_MINUTE", 120),
    "max_anonymous_writes_per_hour": integer("MAX_ANONYMOUS_WRITES_PER_HOUR", 6000),
    "max_session_messages": integer("MAX_SESSION_MESSAGES", 20000),
    "max_sign_ins_per_minute": integer("MAX_SIGN_INS_PER_MINUTE", 30),
    "max_wrong_passwords_per_minute": integer("MAX_WRONG_PASSWORDS_PER_MINUTE", 5),
    "max_frames_per_second": integer("MAX_FRAMES_PER_SECOND", 50),
    "allow_anonymous": flag("ALLOW_ANONYMOUS", DEBUG),
    "allowed_origins": _allowed_origins,
    "metrics_token": _metrics_token,
    "trusted_proxies": TRUSTED_PROXIES,
    "redis_url": REDIS_URL,
    "generated_key": _key_is_generated,
}

# A larger body is refused before it is buffered. The API accepts up to MAX_FRAME_BYTES.
DATA_UPLOAD_MAX_MEMORY_SIZE: int = max(2621440, AGENT["max_frame_bytes"])

#: Unread variables of `.env` that look misspelt: location, name, and the name that was meant.
MISSPELT_VARIABLES = environment.misspelt()
