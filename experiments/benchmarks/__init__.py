"""What `experiments/benchmark.py` is made of: contenders, their worker processes, rows, tables."""
