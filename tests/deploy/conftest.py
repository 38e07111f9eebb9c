"""A finished run that is made in no time."""

import pytest
from made_up import made_up_result

from small_vit.data import load_data
from small_vit.recipes import digits
from small_vit.report.run_report import write_report
from small_vit.results.metrics import full_metrics
from small_vit.results.predictions import predict_split
from small_vit.results.run_directory import RunDirectory
from tiny import TINY, tiny_classifier


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """The path of a run of the tiny classifier on digits, as if it had been trained.

    Its report has no pictures.
    """
    directory = RunDirectory(tmp_path_factory.mktemp("runs") / "tiny")
    config = digits().replace(model=TINY, train={"epochs": 1, "batch_size": 64})
    dataset, model = load_data(config.data, config.model.image_size), tiny_classifier()
    logits = predict_split(model, dataset.test)
    metrics = full_metrics(logits, dataset.test.labels)
    result = made_up_result(
        dataset="digits", arm="spt+lsa", recipe="digits", epochs=1, batch_size=64, metrics=metrics
    )

    directory.create(config, {"backend": result.backend}, dataset.class_names)
    directory.write_history([{"epoch": 1, "loss": 1.0, "accuracy": 0.5, "temperature_1": 2.0}])
    directory.save_model(model, {"class_names": dataset.class_names, "fit": config.data.fit})
    with pytest.MonkeyPatch.context() as patch:  # To draw takes seconds.
        patch.setattr("small_vit.report.markdown.save", lambda *arguments: None)
        patch.setattr("small_vit.report.run_report.html_page", lambda *arguments: "")
        write_report(directory, config, result, model, logits, dataset)
    directory.finish(result)
    return directory.path
