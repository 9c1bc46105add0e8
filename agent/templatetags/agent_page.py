"""Tags of the pages."""

from django import template

from agent.conf import conf

register = template.Library()


@register.simple_tag
def agent_name() -> str:
    """The name of the product, as its operator chose it."""
    return conf().agent_name
