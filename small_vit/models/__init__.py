"""Model families: each is a package here and an entry in `registry.py`."""
