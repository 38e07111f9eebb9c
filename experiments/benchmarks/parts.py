"""The parts of our train step that `--profile` leaves out, one at a time, to see what each costs.

Seconds without a part are a truer price than a profiler's timeline: the compiler fuses parts into
one another, and the referee times both versions side by side. What is left out changes the numbers
that the model computes. Prices need not add up to the step.
"""

import keras

from small_vit.layers import MultiHeadAttentionLSA

from .changes import Change, replace
from .workload import AUGMENTATIONS


def _model(**changes):
    return lambda config: config.replace(model=changes)


def _augment(**changes):
    return lambda config: config.replace(augment=changes)


def _attention_without_scores(model):
    # Every projection still gets a gradient, and so does the temperature.
    def attend(self, query, key, value, *others, **named_others):
        return self._scale(query) + key + value, None

    replace(MultiHeadAttentionLSA, "_compute_attention", attend)


def _softmax_away(model):
    replace(MultiHeadAttentionLSA, "_masked_softmax", lambda self, scores, mask=None: scores)


def _norm_without_statistics(model):
    def scale(self, inputs):
        gamma, beta = (keras.ops.cast(w, inputs.dtype) for w in (self.gamma, self.beta))
        return inputs * gamma + beta

    replace(keras.layers.LayerNormalization, "call", scale)


def _train_the_last_layer_only(model):
    for layer in model.layers[:-1]:
        layer.trainable = False


def _plain_gradient_descent(engine):
    model = engine.model
    model.optimizer = keras.optimizers.SGD(1e-3)
    model.optimizer.build(model.trainable_variables)


_NO_DROPOUT = dict.fromkeys(
    ("attention_dropout", "dropout", "head_dropout", "stochastic_depth"), 0.0
)
_MEAN_HEAD = {"pooling": "mean", "head_units": (), "head_dropout": 0.0}

PARTS = {
    "attention": Change(
        "scores, softmax, their dropout and the weighted sum; the projections stay",
        before_compile=_attention_without_scores,
    ),
    "softmax": Change("softmax: scores weigh the values as they are", before_compile=_softmax_away),
    "attention-dropout": Change(
        "dropout of the attention probabilities", _model(attention_dropout=0.0)
    ),
    "dropout": Change("all dropout and stochastic depth", _model(**_NO_DROPOUT)),
    "diagonal-mask": Change("the mask on the diagonal", _model(diagonal_mask=False)),
    "layer-norm": Change(
        "mean and variance of the layer norms; their weights stay",
        before_compile=_norm_without_statistics,
    ),
    "mlp": Change(
        "the hidden units of the blocks' MLPs, all but one",
        lambda config: config.replace(model={"mlp_ratio": 1 / config.model.projection_dim}),
    ),
    "blocks": Change("all transformer blocks", _model(num_layers=0)),
    "tokenization": Change(
        "shifted copies and patch norm", _model(shifts="none", patch_norm=False)
    ),
    "head": Change("the head: mean pooling and one linear layer instead", _model(**_MEAN_HEAD)),
    "augmentation": Change(
        "all augmentation", lambda config: config.replace(augment=AUGMENTATIONS["none"])
    ),
    "auto-augment": Change("AutoAugment", _augment(auto_augment=False)),
    "crop": Change("the random crop", _augment(crop_padding=0)),
    "erasing": Change("random erasing", _augment(erasing=0.0)),
    "mix": Change("CutMix and MixUp", _augment(mix=0.0)),
    "adam": Change("AdamW: plain gradient descent instead", after_compile=_plain_gradient_descent),
    "backward": Change(
        "backward pass and update of all layers but the last",
        before_compile=_train_the_last_layer_only,
    ),
    "everything": Change(
        "all but input, dispatch, resizing, patches, loss and metrics",
        lambda config: config.replace(
            model={**_NO_DROPOUT, **_MEAN_HEAD, "num_layers": 0, "shifts": "none"}
            | {"patch_norm": False},
            augment=AUGMENTATIONS["none"],
        ),
    ),
}


def parts_of(config):
    """Return the names of those parts that the step of an `ExperimentConfig` has."""
    return [
        name for name, part in PARTS.items() if not part.in_config or part.config(config) != config
    ]
