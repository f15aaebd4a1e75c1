"""Tools that the benchmarks share: pictures, rivals, curves, tables."""
