"""The marks of subjects."""

from benchmarks.quality.subjects import KODAK, TRAINING


def test_marks_are_inside_their_pictures():
    for left, top, right, bottom in (TRAINING | KODAK).values():
        assert 0 <= left < right <= 1
        assert 0 <= top < bottom <= 1


def test_no_picture_of_the_test_set_is_one_to_choose_by():
    assert not TRAINING.keys() & KODAK.keys()
    assert all(name.startswith("shard") for name in TRAINING)
