"""Model families: each a package here and a row in `registry.py`."""
