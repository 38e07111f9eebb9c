"""Learning-rate schedules."""

import math

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="small_vit")
class WarmUpCosine(keras.optimizers.schedules.LearningRateSchedule):
    """Rises linearly to a base rate, then follows half a cosine down to a final one.

    Source: the Keras example `vit_small_ds`, which defines it and then trains with a constant rate.

    Args:
        learning_rate_base: Rate at the end of the warm-up.
        total_steps: Step at which the cosine ends; after it the rate stays the final one.
        warmup_learning_rate: Rate at step 0.
        warmup_steps: Steps of the warm-up; 0 starts with the cosine.
        final_learning_rate: Rate at the end of the cosine.

    Call arguments:
        step: Scalar, steps taken so far.

    Returns:
        The rate, a float32 scalar.

    Raises:
        ValueError: if `total_steps < warmup_steps`, or `learning_rate_base` is below
            `warmup_learning_rate` or `final_learning_rate`.
    """

    def __init__(
        self,
        learning_rate_base,
        total_steps,
        warmup_learning_rate,
        warmup_steps,
        final_learning_rate=0.0,
    ):
        super().__init__()
        if total_steps < warmup_steps:
            raise ValueError(
                "`total_steps` must be at least `warmup_steps`. "
                f"Received: total_steps={total_steps}, warmup_steps={warmup_steps}"
            )
        ends = {
            "warmup_learning_rate": warmup_learning_rate,
            "final_learning_rate": final_learning_rate,
        }
        for name, rate in ends.items():
            if learning_rate_base < rate:
                raise ValueError(
                    f"`learning_rate_base` must be at least `{name}`. Received: "
                    f"learning_rate_base={learning_rate_base}, {name}={rate}"
                )
        self.learning_rate_base = learning_rate_base
        self.total_steps = total_steps
        self.warmup_learning_rate = warmup_learning_rate
        self.warmup_steps = warmup_steps
        self.final_learning_rate = final_learning_rate

    def __call__(self, step):
        """Return the rate at `step`."""
        step = ops.cast(step, "float32")
        cosine_steps = max(self.total_steps - self.warmup_steps, 1)
        angle = math.pi * (step - self.warmup_steps) / cosine_steps
        above_final = 0.5 * (self.learning_rate_base - self.final_learning_rate)
        rate = self.final_learning_rate + above_final * (1 + ops.cos(angle))
        if self.warmup_steps > 0:
            slope = (self.learning_rate_base - self.warmup_learning_rate) / self.warmup_steps
            warmup = self.warmup_learning_rate + slope * step
            rate = ops.where(step < self.warmup_steps, warmup, rate)
        return ops.where(step > self.total_steps, self.final_learning_rate, rate)

    def get_config(self):
        """Return the constructor's arguments."""
        return {
            "learning_rate_base": self.learning_rate_base,
            "total_steps": self.total_steps,
            "warmup_learning_rate": self.warmup_learning_rate,
            "warmup_steps": self.warmup_steps,
            "final_learning_rate": self.final_learning_rate,
        }
