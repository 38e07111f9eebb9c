"""The residual network."""
