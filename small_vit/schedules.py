"""Learning-rate schedules."""

import math

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="small_vit")
class WarmUpCosine(keras.optimizers.schedules.LearningRateSchedule):
    """Rises linearly to a base rate, then follows half a cosine down to zero.

    Source: the Keras example `vit_small_ds`, which defines it and then trains with a constant rate.

    Args:
        learning_rate_base: Rate at the end of the warm-up.
        total_steps: Step at which the rate reaches zero; it stays there.
        warmup_learning_rate: Rate at step 0.
        warmup_steps: Number of steps from there to `learning_rate_base`; 0 starts on the cosine.

    Call arguments:
        step: Scalar, steps taken so far.

    Returns:
        The rate, a float32 scalar.

    Raises:
        ValueError: if `total_steps < warmup_steps` or `learning_rate_base <
            warmup_learning_rate`.
    """

    def __init__(self, learning_rate_base, total_steps, warmup_learning_rate, warmup_steps):
        super().__init__()
        if total_steps < warmup_steps:
            raise ValueError(
                "`total_steps` must be at least `warmup_steps`. "
                f"Received: total_steps={total_steps}, warmup_steps={warmup_steps}"
            )
        if learning_rate_base < warmup_learning_rate:
            raise ValueError(
                "`learning_rate_base` must be at least `warmup_learning_rate`. Received: "
                f"learning_rate_base={learning_rate_base}, "
                f"warmup_learning_rate={warmup_learning_rate}"
            )
        self.learning_rate_base = learning_rate_base
        self.total_steps = total_steps
        self.warmup_learning_rate = warmup_learning_rate
        self.warmup_steps = warmup_steps

    def __call__(self, step):
        """Return the rate at `step`."""
        step = ops.cast(step, "float32")
        cosine_steps = max(self.total_steps - self.warmup_steps, 1)
        angle = math.pi * (step - self.warmup_steps) / cosine_steps
        rate = 0.5 * self.learning_rate_base * (1 + ops.cos(angle))
        if self.warmup_steps > 0:
            slope = (self.learning_rate_base - self.warmup_learning_rate) / self.warmup_steps
            warmup = self.warmup_learning_rate + slope * step
            rate = ops.where(step < self.warmup_steps, warmup, rate)
        return ops.where(step > self.total_steps, 0.0, rate)

    def get_config(self):
        """Return the constructor's arguments."""
        return {
            "learning_rate_base": self.learning_rate_base,
            "total_steps": self.total_steps,
            "warmup_learning_rate": self.warmup_learning_rate,
            "warmup_steps": self.warmup_steps,
        }
