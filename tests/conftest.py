"""Settings that must hold before Keras starts."""

import os
import tempfile

import pytest

# The tests compile much and compute little: without XLA's optimisations they take half the time.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

if "PYTEST_XDIST_WORKER" not in os.environ:
    # Workers inherit it: what one of them has compiled, the others have too.
    programs = tempfile.TemporaryDirectory()
    os.environ["JAX_COMPILATION_CACHE_DIR"] = programs.name


@pytest.fixture(scope="module")
def without_reports():
    """Runs end without a report: to draw it takes seconds, and tests/report looks at it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("small_vit.training.run.write_report", lambda *arguments: None)
        yield
