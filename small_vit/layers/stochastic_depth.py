"""Stochastic depth: residual branches that are skipped at random in training."""

import keras

from small_vit.layers.fast_dropout import FastDropout


@keras.saving.register_keras_serializable(package="small_vit")
class StochasticDepth(FastDropout):
    """Drops the whole branch of an example with probability `rate`, else scales it by 1/(1-rate).

    Source: Huang et al., arXiv 1603.09382, per example as in `DropPath` of the paper's code.

    Args:
        rate: Probability to drop, at least 0 and below 1.
        seed: Seed of the draws.

    Call arguments:
        inputs: `(batch, …)`, the branch before it is added to its shortcut.

    Returns:
        The same shape; in inference, the inputs.

    Raises:
        ValueError: if `rate` is out of range.
    """

    def __init__(self, rate, seed=None, **kwargs):
        super().__init__(rate, seed=seed, **kwargs)

    def build(self, input_shape):
        """Set up one draw per example, for inputs of any rank."""
        self.noise_shape = (None,) + (1,) * (len(input_shape) - 1)

    def get_config(self):
        """Return the constructor's arguments."""
        config = super().get_config()
        del config["noise_shape"]
        return config
