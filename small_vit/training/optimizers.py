"""AdamW with a choice of the decay rule and a learning rate for each layer; schedule-free AdamW."""

import keras
from keras import ops

DECAY_RULES = ("decoupled", "scaled")


# Names of the variables of each kind in this package's layers and in Keras's.
_NAMES_OF = {
    "bias": ("bias",),
    "norm": ("gamma", "beta"),
    "temperature": ("temperature",),
    "position": ("position_embedding", "class_token"),
}


def variable_names(kinds):
    """Return regular expressions for the names of the variables of some kinds.

    Args:
        kinds: Some of `"bias"`, `"norm"`, `"temperature"` and `"position"`.
    """
    # On TensorFlow an optimizer sees names as "block_0/mlp_output/bias:0".
    return [rf"(^|/){name}(:0)?$" for kind in kinds for name in _NAMES_OF[kind]]


@keras.saving.register_keras_serializable(package="small_vit")
class AdamW(keras.optimizers.AdamW):
    """AdamW with either of the two decay rules in use.

    Before Adam's update a step makes `w <- w - rate * w`, where rate is

    - `weight_decay` under `"decoupled"`: Loshchilov and Hutter, arXiv 1711.05101, algorithm 2, as
      in tensorflow-addons. Neither a learning-rate schedule nor `layer_rates` change it.
    - `learning_rate * weight_decay` under `"scaled"`: Keras and PyTorch.

    At a learning rate of 1e-3 the same `weight_decay` is 1,000 times weaker when scaled.

    Args:
        learning_rate: Rate or schedule.
        weight_decay: See above.
        decay_rule: `"decoupled"`, as in the AdamW that the Keras example took from
            tensorflow-addons, or `"scaled"`.
        decay_exclude: Kinds of variables that do not decay, of `"bias"`, `"norm"`,
            `"temperature"` and `"position"` (class token included). Default: all decay.
        layer_rates: Factors of the learning rate by the name of a layer, which is the first part of
            its variables' paths. Default: 1, also for layers that are not named.
        **kwargs: As for `keras.optimizers.AdamW`.

    Raises:
        ValueError: if `decay_rule` or a kind is not one of those named.
    """

    def __init__(
        self,
        learning_rate=0.001,
        weight_decay=1e-4,
        decay_rule="decoupled",
        decay_exclude=(),
        layer_rates=None,
        **kwargs,
    ):
        super().__init__(learning_rate=learning_rate, weight_decay=weight_decay, **kwargs)
        if decay_rule not in DECAY_RULES:
            raise ValueError(
                f"`decay_rule` is one of {DECAY_RULES}. Received: decay_rule={decay_rule!r}"
            )
        if not set(decay_exclude) <= set(_NAMES_OF):
            raise ValueError(
                f"`decay_exclude` holds kinds of {tuple(_NAMES_OF)}. Received: {decay_exclude!r}"
            )
        self.decay_rule = decay_rule
        self.decay_exclude = tuple(decay_exclude)
        self.layer_rates = dict(layer_rates or {})
        self.exclude_from_weight_decay()

    def exclude_from_weight_decay(self, var_list=None, var_names=None):
        """Exclude variables from the decay, in addition to the kinds of `decay_exclude`.

        As in Keras, a call replaces an earlier call and is not saved with the optimizer. The kinds
        of `decay_exclude` stay excluded and are saved. Call this before training: a train step that
        is already compiled does not change.

        Args:
            var_list: Variables. Default: none.
            var_names: Regular expressions, searched for in the variables' names. Default: none.
        """
        names = [*(var_names or ()), *variable_names(self.decay_exclude)]
        super().exclude_from_weight_decay(var_list, names)

    def update_step(self, gradient, variable, learning_rate):
        """Decay `variable`, then make Adam's update, at its layer's rate."""
        # On TensorFlow this is a tf.Variable, whose name is the path.
        layer = getattr(variable, "path", variable.name).partition("/")[0]
        learning_rate = learning_rate * self.layer_rates.get(layer, 1.0)
        if self._use_weight_decay(variable):
            rate = ops.cast(self.weight_decay, variable.dtype)
            if self.decay_rule == "scaled":
                rate = rate * ops.cast(learning_rate, variable.dtype)
            self.assign_sub(variable, ops.multiply(variable, rate))
        super().update_step(gradient, variable, learning_rate)

    def get_config(self):
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "decay_rule": self.decay_rule,
            "decay_exclude": self.decay_exclude,
            "layer_rates": dict(self.layer_rates),
        }

    def _apply_weight_decay(self, variables):
        """Do nothing: `update_step` replaces Keras's own rule."""


@keras.saving.register_keras_serializable(package="small_vit")
class ScheduleFreeAdamW(keras.optimizers.ScheduleFreeAdamW):
    """Schedule-free AdamW (Defazio et al., arXiv 2405.15682, algorithm 1), alike on every backend.

    Steps are made by `z`, and `x` is the mean of all z. The model holds
    `y = (1 - beta_1) z + beta_1 x`, where gradients are taken, and in the end x, which is the
    result. The decay of y is part of the step of z. Keras's own optimizer leaves y in the model,
    applies the decay to y, and on TensorFlow 2.21 reads z after it has changed it.
    """

    def update_step(self, gradient, variable, learning_rate):
        """Make a step of z, and move x and y towards it."""
        index, dtype = self._get_variable_index(variable), variable.dtype
        z, velocity = self._momentums[index], self._velocities[index]
        step = ops.cast(self.iterations + 1, dtype)
        gradient = ops.cast(gradient, dtype)
        x = self._average(variable, z)
        self.assign_add(velocity, (ops.square(gradient) - velocity) * (1 - self.beta_2))
        corrected = velocity / (1 - ops.power(ops.cast(self.beta_2, dtype), step))
        rate = ops.cast(learning_rate, dtype)
        if self.warmup_steps:
            rate = rate * ops.minimum(step / self.warmup_steps, 1)
        change = gradient / (ops.sqrt(corrected) + self.epsilon)
        if self.weight_decay and self._use_weight_decay(variable):
            change = change + self.weight_decay * variable
        self.assign_sub(z, rate * change)
        x = x + (z - x) / step
        self.assign(variable, (1 - self.beta_1) * z + self.beta_1 * x)

    def finalize_variable_values(self, var_list):
        """Replace y by x in the variables."""
        super().finalize_variable_values(var_list)
        for variable in var_list:
            z = self._momentums[self._get_variable_index(variable)]
            variable.assign(self._average(variable, z))

    def _apply_weight_decay(self, variables):
        """Do nothing: `update_step` replaces Keras's own rule."""

    def _average(self, y, z):
        return (y - (1 - self.beta_1) * z) / self.beta_1
