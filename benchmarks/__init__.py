"""Figures that docs/performance.md quotes; `python -m benchmarks` measures them again."""
