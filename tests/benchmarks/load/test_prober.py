"""Probes from another process."""

import time

from benchmarks.load.prober import ask, probing
from benchmarks.load.traffic import Traffic


def test_another_process_probes_meanwhile(server: str, traffic: Traffic) -> None:
    with probing(int(server.rsplit(":", 1)[1]), traffic) as probes:
        time.sleep(1)
        assert probes.hits == []
    routes = [hit.shot.route for hit in probes.hits]
    assert routes.count("health") > 1
    assert (routes.count("read"), routes.count("upload")) == (1, 0)  # no load of its own
    assert {hit.status for hit in probes.hits} == {404}  # this server has no such routes
    assert all(0 < hit.seconds < 30 for hit in probes.hits)


def test_probes_of_no_server_are_no_answers(traffic: Traffic) -> None:
    assert ask(1, traffic.draw()).status == 0
