"""The page's queue sends again only what a service could not keep, and outlasts broken connections."""

from typing import Any

import pytest

from tests.page.conftest import Run

SERVICE = """
const requests = [];
let ends = [];
globalThis.sessionStorage = { getItem: () => null, setItem: () => {} };
const later = globalThis.setTimeout;
globalThis.setTimeout = (work, milliseconds) => later(work, milliseconds / 100);
const json = (status, facts, headers = {}) => new Response(JSON.stringify(facts), { status, headers });
globalThis.fetch = async (url, { method = "GET" } = {}) => {
  requests.push(method);
  if (method === "POST") return json(202, { id: `job${requests.length}` });
  const [kind, status] = ends.shift();
  const problem = { status, title: "End" };
  if (kind === "answer") return json(status, problem, status === 404 ? {} : { "Retry-After": "1" });
  if (kind === "connection") throw new TypeError("no network");
  const breaking = { start: (body) => body.error(new TypeError("broken")) };
  if (kind === "body") return new Response(new ReadableStream(breaking));
  const state = { stored: "stored", running: "running" }[kind] ?? "failed";
  return json(200, { state, stage: "coding", percent: 10, picture: { id: "x" }, problem });
};
"""
"""Answers uploads with a job, and questions about jobs as ``ends`` tells; time passes 100 times faster."""

UPLOAD = """
const answer = (given) => new Promise((resolve) => {
  ends = given;
  const queue = new page.Queue({
    onStored() {},
    onKeyNeeded: async () => false,
    onChange: ({ state, over, error }) => over && resolve([state, error?.status ?? null, requests]),
  });
  queue.add(Object.assign(new Blob(["picture"]), { name: "a.png" }), 80);
});
"""


@pytest.mark.parametrize("end", [["answer", 404], ["job", 429], ["job", 503]])
def test_a_picture_whose_job_passed_away_is_sent_again(page: Run, end: list[Any]) -> None:
    assert page("queue.js", SERVICE, UPLOAD, [end, ["stored", 0]]) == [
        "stored",
        None,
        ["POST", "GET", "POST", "GET"],
    ]


def test_bad_pictures_are_not_sent_again(page: Run) -> None:
    assert page("queue.js", SERVICE, UPLOAD, [["job", 422]]) == ["failed", 422, ["POST", "GET"]]


@pytest.mark.parametrize("status", [429, 503])
def test_a_job_that_cannot_be_asked_for_now_is_asked_for_again(page: Run, status: int) -> None:
    """The service says when: that is about the question, not about the job, which goes on."""
    ends = [["answer", status], ["stored", 0]]
    assert page("queue.js", SERVICE, UPLOAD, ends) == ["stored", None, ["POST", "GET", "GET"]]


@pytest.mark.parametrize("broken", ["connection", "body"])
def test_a_job_is_followed_past_a_connection_that_broke(page: Run, broken: str) -> None:
    """The service has the picture, so that it is asked again and nothing is sent again."""
    ends = [[broken, 0], [broken, 0], ["stored", 0]]
    assert page("queue.js", SERVICE, UPLOAD, ends) == ["stored", None, ["POST", "GET", "GET", "GET"]]


def test_a_service_that_stays_away_is_asked_a_few_times(page: Run) -> None:
    state, status, requests = page("queue.js", SERVICE, UPLOAD, [["connection", 0]] * 20)
    assert (state, status) == ("failed", 0)
    assert 3 <= len(requests) <= 10


def test_a_job_whose_connection_broke_is_not_asked_for_after_it_was_cancelled(page: Run) -> None:
    script = """
    const answer = (given) => new Promise((resolve) => {
      ends = given;
      let cancelled = 0;
      const onChange = (entry) => {
        if (entry.over) resolve([entry.state, requests, cancelled]);
        else if (entry.progress.stage === "coding") later(() => {
          cancelled = requests.length;
          queue.cancel(entry);
        }, 20);
      };
      const queue = new page.Queue({ onStored() {}, onKeyNeeded: async () => false, onChange });
      queue.add(Object.assign(new Blob(["picture"]), { name: "a.png" }), 80);
    });"""
    ends = [["running", 0], *[["connection", 0]] * 20]
    state, requests, cancelled = page("queue.js", SERVICE, script, ends)
    assert (state, len(requests)) == ("cancelled", cancelled)
