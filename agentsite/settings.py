"""Django settings. The only reader of the environment.

Each variable is described in README.md and .env.example. A value that cannot be read stops the
start with the variable's name and what was expected. An empty variable counts as absent.
"""

from __future__ import annotations

import math
import os
import secrets
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import environ
from csp.constants import NONE, SELF
from django.conf import global_settings
from django.core.exceptions import ImproperlyConfigured

from agent.lanes import POOL_SIZE

from .redaction import secrets_of

T = TypeVar("T")

#: Longer than anybody keeps something, and short enough for the arithmetic of dates.
MOST_DAYS = 36500

BASE_DIR = Path(__file__).resolve().parent.parent

if _env_file := os.environ.get("ENV_FILE", str(BASE_DIR / ".env")):
    environ.Env.read_env(_env_file)


def env(name: str, default: T, expected: str, parse: Callable[[str], T]) -> T:
    """The variable `name` read by `parse`, or `default` when it is absent or empty."""
    raw = os.environ.get(name, "").strip()  # as it stands: environ.Env would resolve $NAME
    if not raw:
        return default
    try:
        return parse(raw)
    except (ValueError, KeyError, ImproperlyConfigured):
        # from None: the value may be a secret
        raise ImproperlyConfigured(f"{name}: expected {expected}") from None


def text(name: str, default: str) -> str:
    return env(name, default, "text", str)


def header(name: str) -> str:
    """A secret that is sent in a header, or compared with one."""

    def parse(raw: str) -> str:
        if not (raw.isascii() and raw.isprintable()):
            raise ValueError
        return raw

    return env(name, "", "printable ASCII characters", parse)


def flag(name: str, default: bool) -> bool:
    words = {"1": True, "true": True, "yes": True, "on": True}
    words |= {"0": False, "false": False, "no": False, "off": False}
    return env(name, default, "1 or 0", lambda raw: words[raw.lower()])


def number(name: str, default: float, *, zero: bool = False, most: float = 1e9) -> float:
    def parse(raw: str) -> float:
        value = float(raw)
        if not (math.isfinite(value) and 0 <= value <= most and (value or zero)):
            raise ValueError
        return value

    return env(name, default, f"a number {'from' if zero else 'above'} 0 to {most:g}", parse)


def integer(name: str, default: int, *, least: int = 1, most: int = 2**31 - 1) -> int:
    def parse(raw: str) -> int:
        value = int(raw)
        if not least <= value <= most:
            raise ValueError
        return value

    return env(name, default, f"a whole number from {least} to {most}", parse)


def words(name: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
    return env(
        name,
        default,
        "names separated by commas",
        lambda raw: tuple(part.strip() for part in raw.split(",") if part.strip()),
    )


def url(name: str, default: str, schemes: tuple[str, ...]) -> str:
    def parse(raw: str) -> str:
        parts = urlsplit(raw)
        if parts.scheme not in schemes or not (parts.hostname or parts.scheme == "unix"):
            raise ValueError
        if any(char.isspace() for char in raw) or parts.port == 0:  # `port` checks its range
            raise ValueError
        return raw

    return env(name, default, f"an address that starts with {' or '.join(schemes)}://", parse)


def _origins(raw: str) -> tuple[str, ...]:
    origins = tuple(part.strip().rstrip("/").lower() for part in raw.split(",") if part.strip())
    for origin in origins:
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path:
            raise ValueError
    return origins


def _networks(raw: str) -> tuple[str, ...]:
    networks = [ip_network(part.strip(), strict=False) for part in raw.split(",")]
    if any(network.prefixlen == 0 for network in networks):
        raise ValueError  # who trusts everybody believes what clients say of their own addresses
    return tuple(map(str, networks))


def _generated_key(path: Path) -> str:
    """A key made once and kept in a file that only its owner can read."""
    try:
        with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(48))
    except FileExistsError:
        pass
    return path.read_text()


DEBUG = flag("DEBUG", False)

SECRET_KEY = text("SECRET_KEY", "")
_key_is_generated = DEBUG and not SECRET_KEY
if _key_is_generated:
    SECRET_KEY = _generated_key(BASE_DIR / ".secret_key")
elif not SECRET_KEY:
    raise ImproperlyConfigured(
        "SECRET_KEY: expected at least 50 random characters (or DEBUG=1 on your own machine)"
    )

HOST = text("HOST", "127.0.0.1")  # what `manage.py serve` listens on
PORT = integer("PORT", 8000, least=0, most=65535)
ALLOWED_HOSTS = list(words("ALLOWED_HOSTS", ("localhost", "127.0.0.1", "[::1]")))
HTTPS_ONLY = flag("HTTPS_ONLY", not DEBUG)
SECURE_COOKIES = flag("SECURE_COOKIES", HTTPS_ONLY)
TRUSTED_PROXIES: tuple[str, ...] = env(
    "TRUSTED_PROXIES", (), "addresses or networks, by commas, and not all there are", _networks
)
_allowed_origins: tuple[str, ...] = env(
    "ALLOWED_ORIGINS", (), "origins with their scheme, by commas: https://example.org", _origins
)

ROOT_URLCONF = "agentsite.urls"
ASGI_APPLICATION = "agentsite.asgi.application"

INSTALLED_APPS = [
    "daphne",  # first: it gives runserver its WebSocket side
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "servestatic.runserver_nostatic",
    "django.contrib.staticfiles",
    "channels",
    "csp",
    "agent",
]

MIDDLEWARE = [
    "agentsite.headers.middleware",  # first: headers of whatever the others answer
    "csp.middleware.CSPMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "agent.http.ErrorsAsJson",
    "servestatic.middleware.ServeStaticMiddleware",
    "agent.gate.Gate",  # before all that looks into the database
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
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


def _database(raw: str) -> dict[str, Any]:
    config: dict[str, Any] = environ.Env.db_url_config(raw)
    if config["ENGINE"] == "django.db.backends.sqlite3" and config["NAME"] != ":memory:":
        # IMMEDIATE: a transaction that reads before it writes must not fail half-way
        config["OPTIONS"] = {"transaction_mode": "IMMEDIATE", "timeout": 20}
        config["TEST"] = {"NAME": f"{config['NAME']}.test"}
    elif config["ENGINE"] == "django.db.backends.postgresql":
        if not config["NAME"]:
            raise ValueError
        config["OPTIONS"] = {
            **config.get("OPTIONS", {}),
            "connect_timeout": 5,
            # A process that freezes within a transaction holds up others less long than a lease.
            "options": "-c statement_timeout=30s -c lock_timeout=4s"
            " -c idle_in_transaction_session_timeout=5s",
            # A server that vanished does not say so.
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 15000,
            # A short series of tries, begun anew: one series waits ever longer between its tries.
            "pool": {"min_size": 1, "max_size": POOL_SIZE, "timeout": 10, "reconnect_timeout": 5},
        }
        config["CONN_HEALTH_CHECKS"] = True
    else:
        raise ValueError
    return config


DATABASES = {
    "default": env(
        "DATABASE_URL",
        _database(f"sqlite:///{BASE_DIR / 'db.sqlite3'}"),
        "postgres://user:password@host:5432/name or sqlite:////path/of/a/file",
        _database,
    )
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"


# Between processes

REDIS_URL = url("REDIS_URL", "", ("redis", "rediss", "unix"))

CHANNEL_LAYERS: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}
}
if REDIS_URL:
    # Pub/sub: the core layer drops what a channel has not read at 100 messages, and shares that
    # bound between sessions. What pub/sub loses in a restart is read from the database.
    CHANNEL_LAYERS["default"] = {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {
            "hosts": [{"address": REDIS_URL, "socket_connect_timeout": 1, "socket_timeout": 5}],
            "prefix": "agent",
        },
    }


# Static files

STATIC_URL = "static/"
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
SECURE_REDIRECT_EXEMPT = [r"^ws/", r"^functions/v1/", r"^healthz$", r"^readyz$", r"^metrics$"]
SECURE_HSTS_SECONDS = 31536000 if HTTPS_ONLY else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS_ONLY
SECURE_HSTS_PRELOAD = HTTPS_ONLY
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_COOKIES
SESSION_COOKIE_HTTPONLY = True
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
PASSWORD_HASHERS = ["agent.hashing.Pbkdf2", *global_settings.PASSWORD_HASHERS[1:]]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]


# Words and time

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English")]  # more: agent/locale/, agent/static/agent/page/words/
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
LOGGING["secrets"] = secrets_of(
    *(SECRET_KEY, _api_key, REDIS_URL, _metrics_token),
    *(str(base.get("PASSWORD", "")) for base in DATABASES.values()),
)
_base_url = url("OPENROUTER_BASE_URL", _DEFAULT_BASE_URL, ("http", "https")).rstrip("/")

AGENT: dict[str, Any] = {
    "openrouter_api_key": _api_key,
    "openrouter_base_url": _base_url,
    "demo": not _api_key and _base_url == _DEFAULT_BASE_URL,
    "model": text("MODEL", "openai/gpt-4-turbo"),
    "fallback_models": words("FALLBACK_MODELS"),
    "agent_name": text("AGENT_NAME", "agent_websocket"),
    "system_prompt": text(
        "SYSTEM_PROMPT",
        "You are Agent WebSocket, an AI assistant communicating via WebSocket.",
    ),
    "temperature": number("TEMPERATURE", 0.7, zero=True, most=2),
    "max_tokens": integer("MAX_TOKENS", 1500),
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

# A body that is larger is refused before it is kept. The API takes up to MAX_FRAME_BYTES.
DATA_UPLOAD_MAX_MEMORY_SIZE: int = max(2621440, AGENT["max_frame_bytes"])
