"""The page's files, as the service sends them."""

import re

import pytest

from service.routes.page import FOLDER


def test_the_page_may_do_nothing_but_ask_its_own_service(service):
    answer = service.client.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(rule.strip().split(" ", 1) for rule in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    again = service.client.get("/", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304
    assert service.client.head("/").status_code == 200


@pytest.mark.parametrize("file", sorted(FOLDER.iterdir()), ids=lambda file: file.name)
def test_files_and_what_they_refer_to_are_there(service, file):
    kinds = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml"}
    answer = service.client.get(f"/static/{file.name}")
    assert answer.status_code == 200
    assert answer.headers["content-type"].split(";")[0] == kinds[file.suffix]
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    for name in re.findall(r"""(?:from "\./|/static/)([\w.]+)""", answer.text):
        assert (FOLDER / name).is_file(), name
    assert "http" not in answer.text.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.parametrize("path", ["/static/", "/static/none.js", "/static/..%2fapp.py", "/static/../app.py"])
def test_nothing_else_is_given_out(service, path):
    assert service.client.get(path).status_code == 404
