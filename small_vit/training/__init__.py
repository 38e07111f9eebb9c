"""Training: from a config to the run directory of a trained model."""
