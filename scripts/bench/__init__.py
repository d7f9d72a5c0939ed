"""What scripts/benchmark.py measures, a part a module."""
