"""Django's CommonMiddleware, without the check of the host for probes and scrapes."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponseBase
from django.middleware.common import CommonMiddleware as DjangosMiddleware

#: These answers do not depend on `Host`. Kubernetes and Prometheus use a pod's address.
ANY_HOST = frozenset({"/healthz", "/readyz", "/metrics"})


class CommonMiddleware(DjangosMiddleware):
    def process_request(self, request: HttpRequest) -> HttpResponseBase | None:  # type: ignore[override]
        """Refuse hosts that are not ours, except for the paths in `ANY_HOST`."""
        return None if request.path_info in ANY_HOST else super().process_request(request)
