"""Django's CommonMiddleware, which answers probes and scrapes under whatever name they come."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponseBase
from django.middleware.common import CommonMiddleware as DjangosMiddleware

#: Nothing in their answers depends on `Host`. Kubernetes and Prometheus ask by a pod's address.
ANY_HOST = frozenset({"/healthz", "/readyz", "/metrics"})


class CommonMiddleware(DjangosMiddleware):
    def process_request(self, request: HttpRequest) -> HttpResponseBase | None:  # type: ignore[override]
        """Refuse hosts that are not ours, but for `ANY_HOST`."""
        return None if request.path_info in ANY_HOST else super().process_request(request)
