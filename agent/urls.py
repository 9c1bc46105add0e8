"""The HTTP side of the app."""

from django.urls import path, re_path

from . import views
from .routing import SOCKET_PATHS

urlpatterns = [
    path("", views.chat, name="chat"),
    path("healthz", views.healthz, name="healthz"),
    path("readyz", views.readyz, name="readyz"),
    path("metrics", views.metrics_page, name="metrics"),
    re_path(SOCKET_PATHS, views.expected_websocket, name="socket"),
]
