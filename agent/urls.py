"""The HTTP side of the app."""

from django.urls import path, re_path

from . import views
from .api import api
from .routing import SOCKET_PATHS

urlpatterns = [
    path("", views.chat, name="chat"),
    path("healthz", views.healthz, name="healthz"),
    path("readyz", views.readyz, name="readyz"),
    path("metrics", views.metrics_page, name="metrics"),
    re_path(SOCKET_PATHS, views.expected_websocket, name="socket"),
    path("", api.urls),
    re_path(r"^api/", views.nothing_here),  # of any method, and without a redirect to a slash
]
