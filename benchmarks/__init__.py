"""Side-by-side measurements against what a user would otherwise take: `python -m benchmarks`. Never part of a test."""
