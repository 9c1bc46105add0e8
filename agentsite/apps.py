"""The configuration of Django's admin for this site."""

from django.contrib.admin.apps import AdminConfig as DjangoAdminConfig


class AdminConfig(DjangoAdminConfig):
    default_site = "agentsite.admin_site.AdminSite"
