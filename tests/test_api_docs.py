"""The OpenAPI document and its page are made once, and are right all the same."""

import json

import pytest
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.urls import set_script_prefix

from agent.api.docs import made_once
from agent.api.endpoints import api

PATHS = ["/api/openapi.json", "/api/docs"]


@pytest.fixture
def script_prefix():
    yield set_script_prefix
    set_script_prefix("/")


@pytest.mark.parametrize("path", PATHS)
def test_who_has_it_already_is_told_so(path):
    first, again = Client().get(path), Client().get(path)
    assert first.status_code == 200 and first.content == again.content
    assert first["ETag"] == again["ETag"] and first["Cache-Control"] == "no-cache"
    unchanged = Client().get(path, headers={"if-none-match": first["ETag"]})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    other = Client().get(path, headers={"if-none-match": '"other"'})
    assert (other.status_code, other.content) == (200, first.content)
    assert Client().head(path)["ETag"] == first["ETag"]


def test_the_document_is_that_of_the_api():
    assert Client().get(PATHS[0]).json() == json.loads(json.dumps(api.get_openapi_schema()))


def counted():
    made = []

    def view(request, **kwargs):
        made.append(request.path)
        return HttpResponse(f"the {len(made)}th", content_type="text/plain")

    return made, made_once(view)


def test_it_is_made_once():
    made, view = counted()
    for _ in range(5):
        response = view(RequestFactory().get("/x"))
        assert response.content == b"the 1th" and response["Content-Type"] == "text/plain"
    assert len(made) == 1


def test_each_base_path_has_its_own_and_few_are_kept(script_prefix):
    made, view = counted()
    for prefix in ("/", "/a/", "/", "/a/"):
        script_prefix(prefix)
        assert view(RequestFactory().get("/x")).content == (b"the 1th", b"the 2th")[prefix != "/"]
    for number in range(100):
        script_prefix(f"/{number}/")
        view(RequestFactory().get("/x"))
    kept = view.__closure__
    assert len(made) == 102 and kept is not None
    assert all(
        len(cell.cell_contents) <= 8 for cell in kept if isinstance(cell.cell_contents, dict)
    )
