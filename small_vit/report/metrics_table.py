"""The table of a run's metrics."""

from small_vit.report.markdown import table

METRICS = {
    "accuracy": ("top-1 accuracy", "{:.2%}"),
    "balanced_accuracy": ("balanced accuracy", "{:.2%}"),
    "top5_accuracy": ("top-5 accuracy", "{:.2%}"),
    "loss": ("cross-entropy", "{:.4f}"),
    "precision": ("precision, mean over classes", "{:.4f}"),
    "recall": ("recall, mean over classes", "{:.4f}"),
    "f1": ("F1, mean over classes", "{:.4f}"),
    "precision_weighted": ("precision, weighted by images", "{:.4f}"),
    "recall_weighted": ("recall, weighted by images", "{:.4f}"),
    "f1_weighted": ("F1, weighted by images", "{:.4f}"),
    "precision_positive": ("precision of the positive class", "{:.4f}"),
    "recall_positive": ("recall of the positive class", "{:.4f}"),
    "f1_positive": ("F1 of the positive class", "{:.4f}"),
    "roc_auc": ("area under the ROC curve", "{:.4f}"),
    "average_precision": ("average precision", "{:.4f}"),
    "threshold": ("threshold of the positive class", "{:.4f}"),
    "accuracy_at_threshold": ("accuracy at the threshold", "{:.2%}"),
    "precision_at_threshold": ("precision at the threshold", "{:.4f}"),
    "recall_at_threshold": ("recall at the threshold", "{:.4f}"),
    "f1_at_threshold": ("F1 at the threshold", "{:.4f}"),
    "calibration_error": ("expected calibration error", "{:.4f}"),
    "calibration_error_before": ("expected calibration error before calibration", "{:.4f}"),
    "temperature": ("temperature that the logits were divided by", "{:.4f}"),
}
"""Label and number format of each metric; others are shown by their own names."""
FEWEST_CLASSES_FOR_TOP5 = 6


def metrics_table(columns, intervals=None, num_classes=FEWEST_CLASSES_FOR_TOP5):
    """Return a Markdown table of metrics, one per row.

    Args:
        columns: Dicts of metrics by heading; empty ones are left out.
        intervals: By heading, dicts of `(low, high)` by metric, shown in brackets. Default: none.
        num_classes: Number of classes; with five or fewer, top-5 accuracy is left out. Default: it
            is shown.
    """
    intervals = intervals or {}
    columns = {heading: metrics for heading, metrics in columns.items() if metrics}
    names = dict.fromkeys(name for metrics in columns.values() for name in metrics)
    if num_classes < FEWEST_CLASSES_FOR_TOP5:
        names.pop("top5_accuracy", None)
    ordered = [name for name in METRICS if name in names]
    ordered += [name for name in names if name not in METRICS]
    rows = []
    for name in ordered:
        label, form = METRICS.get(name, (name, "{:.4f}"))
        cells = [
            _cell(metrics, intervals.get(heading, {}), name, form)
            for heading, metrics in columns.items()
        ]
        rows.append([label, *cells])
    return table(["", *columns], rows)


def _cell(metrics, intervals, name, form):
    if name not in metrics:
        return ""
    shown = form.format(metrics[name])
    if name in intervals:
        low, high = intervals[name]
        shown += f" ({form.format(low)} to {form.format(high)})"
    return shown
