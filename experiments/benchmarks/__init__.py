"""What `experiments/benchmark.py` is made of: the contenders, one family a file, and the referee.

Every contender runs in a process of its own (`worker`), which `referee` tells when to train.
"""
