"""Operating points: quality of a stream, and of answers that are worth it. Made by a command.

``make bench-answers OPTIONS="--points FILE"``: model d94b00a101c85e49, 8 pictures,
limit 1.6.
"""

POINTS: dict[str, tuple[tuple[int, int], ...]] = {
    "avif": ((25, 20), (45, 36), (60, 44), (75, 52), (90, 57)),
    "webp": ((25, 15), (45, 33), (60, 42), (75, 59), (90, 73)),
    "jpeg": ((25, 25), (45, 25), (60, 41), (75, 66), (90, 75)),
}
"""By format, (quality of the stream, quality of the answer), both rising."""
