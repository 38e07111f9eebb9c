"""Parts of `experiments/benchmark.py`: contenders, their worker processes, rows, tables."""
