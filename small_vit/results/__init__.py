"""Results of runs: run directories, checkpoints, rows, metrics and tables."""
