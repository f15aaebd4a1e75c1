"""Where the subject of a photograph is, marked by hand: what :mod:`benchmarks.quality.focus` measures with.

The constants of :mod:`service.worker.saliency` are chosen on training photographs alone. Kodak is a test set:
its figures are told, and nothing is chosen by them. None of the pictures is part of the project.
"""

Area = tuple[float, float, float, float]
"""Left, top, right and bottom, as shares of width and height."""

TRAINING: dict[str, Area] = {
    "shard0/00376.avif": (0.29, 0.27, 0.88, 0.93),
    "shard0/00692.avif": (0.36, 0.42, 0.57, 0.60),
    "shard0/00792.avif": (0.36, 0.29, 0.70, 1.00),
    "shard0/00900.avif": (0.40, 0.32, 0.96, 0.94),
    "shard0/01184.avif": (0.00, 0.11, 0.70, 1.00),
    "shard0/01228.avif": (0.02, 0.40, 0.95, 0.69),
    "shard0/01400.avif": (0.15, 0.16, 0.84, 1.00),
    "shard0/01432.avif": (0.17, 0.57, 0.89, 0.95),
    "shard0/01436.avif": (0.31, 0.20, 0.76, 0.94),
    "shard1/00289.avif": (0.70, 0.27, 0.89, 0.50),
    "shard1/00929.avif": (0.31, 0.21, 0.70, 0.68),
    "shard1/01085.avif": (0.01, 0.39, 0.79, 0.70),
    "shard1/01089.avif": (0.20, 0.07, 0.97, 0.92),
    "shard1/01109.avif": (0.31, 0.06, 0.62, 0.82),
    "shard1/01317.avif": (0.10, 0.08, 1.00, 1.00),
    "shard1/01369.avif": (0.07, 0.18, 0.98, 0.95),
    "shard2/00722.avif": (0.26, 0.00, 0.76, 1.00),
    "shard2/01098.avif": (0.15, 0.26, 0.57, 0.66),
    "shard2/01122.avif": (0.37, 0.28, 0.64, 0.80),
    "shard2/01330.avif": (0.29, 0.00, 0.68, 1.00),
    "shard3/00207.avif": (0.55, 0.43, 0.70, 0.53),
    "shard3/00899.avif": (0.02, 0.45, 0.92, 0.90),
    "shard3/00987.avif": (0.05, 0.08, 0.67, 0.93),
    "shard3/01207.avif": (0.18, 0.37, 0.98, 0.92),
    "shard3/01275.avif": (0.20, 0.43, 0.51, 0.64),
    "shard3/01375.avif": (0.20, 0.15, 0.65, 0.97),
    "shard3/01399.avif": (0.14, 0.08, 0.65, 0.97),
    "shard3/01427.avif": (0.04, 0.45, 0.32, 0.77),
    "shard3/01455.avif": (0.08, 0.18, 0.92, 0.72),
    "shard3/01459.avif": (0.22, 0.15, 0.90, 0.87),
}
"""By the path in the folder of training photographs."""

KODAK: dict[str, Area] = {
    "kodim02.png": (0.29, 0.37, 0.40, 0.55),
    "kodim03.png": (0.10, 0.15, 0.92, 0.80),
    "kodim04.png": (0.25, 0.30, 0.75, 0.78),
    "kodim06.png": (0.17, 0.35, 0.72, 0.75),
    "kodim07.png": (0.44, 0.28, 0.62, 0.62),
    "kodim09.png": (0.22, 0.15, 0.95, 0.88),
    "kodim11.png": (0.38, 0.10, 0.80, 0.78),
    "kodim12.png": (0.29, 0.12, 0.52, 0.78),
    "kodim14.png": (0.02, 0.20, 0.86, 0.85),
    "kodim15.png": (0.38, 0.10, 0.98, 0.85),
    "kodim17.png": (0.32, 0.08, 0.95, 0.50),
    "kodim18.png": (0.42, 0.20, 0.90, 0.97),
    "kodim19.png": (0.50, 0.15, 0.75, 0.70),
    "kodim20.png": (0.08, 0.10, 0.80, 0.92),
    "kodim21.png": (0.40, 0.15, 0.66, 0.62),
    "kodim22.png": (0.25, 0.12, 0.65, 0.68),
    "kodim23.png": (0.08, 0.20, 0.95, 1.00),
}
"""By the file's name."""
