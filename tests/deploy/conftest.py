"""A finished run that is made in no time."""

import pytest

from small_vit.recipes import digits
from small_vit.training.run import run_experiment
from tiny import TINY


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A run of the tiny classifier on some digits: its path. Its report has no pictures."""
    path = tmp_path_factory.mktemp("runs") / "tiny"
    config = digits().replace(
        model=TINY, data={"train_examples": 128}, train={"epochs": 1, "batch_size": 64}
    )
    with pytest.MonkeyPatch.context() as patch:  # To draw takes seconds.
        patch.setattr("small_vit.report.markdown.save", lambda *arguments: None)
        patch.setattr("small_vit.report.run_report.html_page", lambda *arguments: "")
        run_experiment(config, path)
    return path
