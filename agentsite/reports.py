"""DEBUG's page about an unexpected exception, without the secrets of settings."""

from __future__ import annotations

from html import escape
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.utils.safestring import SafeString
from django.views.debug import ExceptionReporter as DjangosReporter
from django.views.debug import SafeExceptionReporterFilter as DjangosFilter

from .redaction import MASK, Redaction, is_secret_name


class ExceptionReporterFilter(DjangosFilter):
    """Hides settings, headers and cookies with the name of a secret."""

    def cleanse_setting(self, key: Any, value: Any) -> Any:
        if isinstance(key, str) and is_secret_name(key):
            return self.cleansed_substitute
        if isinstance(value, str):
            value = Redaction(()).line(None, "", value)
        return super().cleanse_setting(key, value)


class ExceptionReporter(DjangosReporter):
    """Masks the secrets of this deployment by value, wherever they occur.

    That is in addresses among the settings, in variables of the traceback, and in the message of
    the exception.
    """

    def get_traceback_html(self) -> SafeString:
        return SafeString(_masked(super().get_traceback_html()))

    def get_traceback_text(self) -> SafeString:
        return SafeString(_masked(super().get_traceback_text()))


def _masked(text: str) -> str:
    for secret in settings.LOGGING["secrets"]:
        for form in {secret, repr(secret)[1:-1]}:
            for written in {form, escape(form), quote(form, safe="")}:
                text = text.replace(written, MASK)
    return text
