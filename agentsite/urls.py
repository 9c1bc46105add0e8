"""The site: the agent, and the admin."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", include("agent.urls")),
]

handler500 = "agent.views.server_error"
