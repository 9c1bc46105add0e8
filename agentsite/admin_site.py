"""Django's admin, without the address that leads from a row to its page on the site."""

from __future__ import annotations

from typing import Any

from django.contrib import admin


class AdminSite(admin.AdminSite):
    """No model here has such a page, and Django's view fails for a key that is no UUID."""

    def get_urls(self) -> list[Any]:
        urls = super().get_urls()
        return [url for url in urls if getattr(url, "name", "") != "view_on_site"]
