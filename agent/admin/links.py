"""Small things that the pages of the admin share: links, moments, short ids."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.urls import reverse
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import localtime

from . import transcript


def message_address(session_id: UUID, seq: int) -> str:
    """The address of a message in its transcript."""
    return reverse("admin:agent_session_change", args=[session_id]) + transcript.Place(seq).link


def link(address: str, text: object) -> SafeString:
    """An HTML link."""
    return format_html('<a href="{}">{}</a>', address, text)


def moment(value: datetime) -> str:
    """A moment in the time zone of the site, to the minute."""
    return date_format(localtime(value), "Y-m-d H:i")


def short(key: UUID) -> str:
    """The beginning of an id, by which people tell rows apart."""
    return str(key)[:8]


def as_uuid(text: str) -> UUID | None:
    """The id in a text; None if it is none."""
    try:
        return UUID(text)
    except ValueError:
        return None
