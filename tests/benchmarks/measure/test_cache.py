from benchmarks.measure.cache import Cache, code_digest


def test_a_measurement_is_made_once_and_survives(tmp_path):
    made = []

    def measure():
        made.append(1)
        return [[100, 33.25]]

    path = tmp_path / "new" / "cache.jsonl"
    first = Cache(path)
    assert first.get("a", measure) == first.get("a", measure) == [[100, 33.25]]
    assert Cache(path).get("a", measure) == [[100, 33.25]]
    assert len(made) == 1
    Cache(path).get("b", measure)
    assert len(made) == 2


def test_a_torn_last_line_is_measured_again(tmp_path):
    path = tmp_path / "cache.jsonl"
    Cache(path).get("a", lambda: [[1, 2.0]])
    Cache(path).get("b", lambda: [[3, 4.0]])
    path.write_text(path.read_text()[:-6])
    again = Cache(path)
    assert again.get("a", list) == [[1, 2.0]]
    assert again.get("b", lambda: [[5, 6.0]]) == [[5, 6.0]]
    assert Cache(path).get("b", list) == [[5, 6.0]]


def test_changed_code_has_another_digest(tmp_path):
    (tmp_path / "a.py").write_text("x = 1")
    for folder in ("codec", "training"):
        (tmp_path / folder).mkdir()

    def digest():
        return code_digest(tmp_path, without="training")

    before = digest()
    (tmp_path / "notes.md").write_text("not code")
    (tmp_path / "training" / "a.py").write_text("measures nothing")
    assert digest() == before
    (tmp_path / "a.py").write_text("x = 2")
    after = digest()
    (tmp_path / "codec" / "a.py").write_text("x = 2")
    assert len({before, after, digest()}) == 3
