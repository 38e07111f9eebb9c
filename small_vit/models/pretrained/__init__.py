"""Vision Transformers with weights of keras-hub."""
