"""The model that is trained: a classifier, with augmentation and mixing around it."""

import keras

from small_vit.augment import RandomAffine
from small_vit.augment.mix import mix_targets
from small_vit.augment.pipeline import raw_augmentation
from small_vit.data.statistics import channel_statistics
from small_vit.models.registry import build_classifier
from small_vit.training.sam import SharpnessAware


def build_training_model(config, dataset):
    """Return the `TrainingModel` of an experiment; its classifier normalises by the training set.

    With `sam_rho` it is a `SharpnessAwareTrainingModel`.

    Args:
        config: `ExperimentConfig`.
        dataset: `Dataset`.
    """
    mean, variance = channel_statistics(dataset.train)
    augment = config.augment
    affine = (augment.flip, augment.rotation, augment.zoom, augment.translation)
    resized = RandomAffine(*affine, name="augmentation") if any(affine) else None
    classifier = build_classifier(
        config.model,
        dataset.image_shape,
        dataset.num_classes,
        keras.layers.Normalization(mean=mean, variance=variance, name="normalization"),
    )
    raw, mix = raw_augmentation(augment, mean, variance)
    parts = (classifier, raw, resized, mix)
    train = config.train
    if train.sam_rho:
        return SharpnessAwareTrainingModel(*parts, rho=train.sam_rho, adaptive=train.sam_adaptive)
    return TrainingModel(*parts)


class TrainingModel(keras.Model):
    """Trains a classifier on augmented images; in inference it is the classifier.

    In the loss, targets are mixed like the images. Metrics use an image's label before mixing.

    Args:
        classifier: Functional `keras.Model` from raw images to logits, with a layer
            "normalization" and, where it resizes, "resize".
        raw: Layers that change raw images one by one.
        resized: Layer that changes normalised and resized images, or None.
        mix: `small_vit.Mix`, which mixes within the batch, or None.
    """

    def __init__(self, classifier, raw=(), resized=None, mix=None):
        super().__init__()
        self.classifier = classifier
        self.raw = list(raw)
        self.resized = resized
        self.mix = mix
        if resized is not None:
            names = [layer.name for layer in classifier.layers]
            ready = classifier.get_layer("resize" if "resize" in names else "normalization").output
            self.prepare_images = keras.Model(classifier.input, ready)
            self.classify_prepared = keras.Model(ready, classifier.output)
        self.build(classifier.input_shape)

    def build(self, input_shape):
        """Do nothing: augmentation has no weights, and the classifier is already built."""

    def call(self, images, training=False):
        """Return logits. When images are mixed, a dict with `logits`, `partners` and `share`."""
        if not training:
            return self.classifier(images, training=False)
        for layer in self.raw:
            images = layer(images, training=True)
        if self.mix is None:
            return self._logits(images)
        images, partners, share = self.mix.mix_images(images)
        return {"logits": self._logits(images), "partners": partners, "share": share}

    def _logits(self, images):
        if self.resized is None:
            return self.classifier(images, training=True)
        images = self.resized(self.prepare_images(images), training=True)
        return self.classify_prepared(images, training=True)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Return the loss, against mixed targets where images were mixed."""
        if isinstance(y_pred, dict):
            y = mix_targets(y, y_pred["partners"], y_pred["share"])
            y_pred = y_pred["logits"]
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Return the metrics of the logits."""
        logits = y_pred["logits"] if isinstance(y_pred, dict) else y_pred
        return super().compute_metrics(x, y, logits, sample_weight)


class SharpnessAwareTrainingModel(SharpnessAware, TrainingModel):
    """`TrainingModel` that trains with sharpness-aware minimisation.

    Args:
        *args: As for `TrainingModel`.
        rho, adaptive: As for `SharpnessAware`.
    """
