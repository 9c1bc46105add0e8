"""The HTTP side of the app."""

from django.contrib.auth.views import LogoutView
from django.urls import path, re_path

from . import views
from .api.endpoints import api
from .routing import SOCKET_PATHS

urlpatterns = [
    path("", views.chat, name="chat"),
    path("login/", views.SignIn.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("healthz", views.healthz, name="healthz"),
    path("readyz", views.readyz, name="readyz"),
    path("metrics", views.metrics_page, name="metrics"),
    re_path(SOCKET_PATHS, views.expected_websocket, name="socket"),
    path("", api.urls),
    re_path(r"^api/", views.nothing_here),  # of any method, and without a redirect to a slash
]
