"""The page's files, as the service sends them."""

import re

import pytest

from service.routes.page import FOLDER

KINDS = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml"}


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


VENDOR = FOLDER / "vendor"
OURS = sorted(path for path in FOLDER.rglob("*.*") if VENDOR not in path.parents and path.is_file())


@pytest.mark.parametrize("file", [f for f in OURS if f.suffix in KINDS], ids=lambda f: f.name)
def test_files_and_what_they_refer_to_are_there(service, file):
    answer = service.client.get(f"/static/{file.relative_to(FOLDER)}")
    assert answer.status_code == 200
    assert answer.headers["content-type"].split(";")[0] == KINDS[file.suffix]
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    for start, name in re.findall(r"""(?:from "(\.{1,2}/)|/static/)([\w./]+)""", answer.text):
        folder = file.parent / start if start else FOLDER
        assert (folder / name).is_file() or name.startswith("vendor/"), name  # `make viewer`
    code = re.sub(r"^\s*//.*$", "", answer.text, flags=re.MULTILINE)  # comments give examples
    code = code.replace("http://www.w3.org/2000/svg", "").replace("https?:", "")
    assert "http" not in code


@pytest.mark.skipif(not VENDOR.exists(), reason="OpenSeadragon is not fetched (make viewer)")
def test_what_others_wrote_has_its_licence(service):
    for folder in VENDOR.iterdir():
        assert "Redistribution" in service.client.get(f"/static/vendor/{folder.name}/LICENSE.txt").text
        assert service.client.get(f"/static/vendor/{folder.name}/{folder.name}.min.js").status_code == 200


@pytest.mark.parametrize("path", ["/static/", "/static/none.js", "/static/..%2fapp.py", "/static/../app.py"])
def test_nothing_else_is_given_out(service, path):
    assert service.client.get(path).status_code == 404
