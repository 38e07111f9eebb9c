"""The pictures of a sweep, drawn from its summaries and its run directories."""

import keras

from small_vit.plots import learns_temperature, plot_arms, plot_over, plot_temperatures


def plot_sweep(sweep, summaries):
    """Draw the accuracies of a sweep: curves if `Sweep.curve`, else a point for each arm.

    Args:
        sweep: `Sweep`.
        summaries: Its `ArmSummary`s; arms without rows are left out.

    Returns:
        The figure; None where no arm has a row.
    """
    shown = [summary for summary in summaries if summary.rows]
    if not shown:
        return None
    if not sweep.curve:
        estimates = {summary.arm.name: summary.accuracy for summary in shown}
        baselines = {summary.arm.name: summary.arm.baseline for summary in shown}
        return plot_arms(estimates, baselines, sweep.question)
    curves = {}
    for summary in shown:
        quantity, *name = summary.arm.options
        curves.setdefault("-".join(name), {})[float(quantity)] = summary.accuracy
    return plot_over(curves, next(iter(sweep.axes)), sweep.question)


def plot_learned_temperatures(runs):
    """Draw the learned temperatures at the end of runs, block by block.

    Args:
        runs: List of `Run`. Runs that learn no temperature, or whose folder holds no model, are
            left out.

    Returns:
        The figure; None if no run remains.
    """
    files = {run.name: run.directory / "model.keras" for run in runs}
    models = {
        name: keras.saving.load_model(file, compile=False)
        for name, file in files.items()
        if file.exists()
    }
    learned = {name: model for name, model in models.items() if learns_temperature(model)}
    return plot_temperatures(learned) if learned else None
