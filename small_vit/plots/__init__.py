"""Pictures of data, models and results; each function returns a Matplotlib figure."""

from small_vit.plots.attention import (
    attention_rollout,
    attention_scores,
    learns_temperature,
    plot_attention,
    plot_temperature_history,
    plot_temperatures,
)
from small_vit.plots.augmentations import plot_augmentations
from small_vit.plots.calibration import plot_reliability
from small_vit.plots.classes import plot_class_scores
from small_vit.plots.confusion import plot_confusion
from small_vit.plots.curves import plot_curves
from small_vit.plots.examples import plot_captioned, plot_samples
from small_vit.plots.few_shot import plot_few_shot
from small_vit.plots.patches import plot_patches, plot_shifted_views
from small_vit.plots.save import save
from small_vit.plots.sweeps import plot_arms, plot_over

__all__ = [
    "attention_rollout",
    "attention_scores",
    "learns_temperature",
    "plot_arms",
    "plot_attention",
    "plot_augmentations",
    "plot_captioned",
    "plot_class_scores",
    "plot_confusion",
    "plot_curves",
    "plot_few_shot",
    "plot_over",
    "plot_patches",
    "plot_reliability",
    "plot_samples",
    "plot_shifted_views",
    "plot_temperature_history",
    "plot_temperatures",
    "save",
]
