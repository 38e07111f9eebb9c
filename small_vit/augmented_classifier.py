"""A classifier in training behind augmentation that may mix images, and their targets with them."""

import keras

from small_vit.augment.mix import mix_targets


@keras.saving.register_keras_serializable(package="small_vit")
class AugmentedClassifier(keras.Model):
    """Trains a classifier on augmented raw images; in inference it is the classifier.

    Augmentation lies before the classifier, which stays what a user saves and loads. Targets are
    mixed in the loss, as the images were; metrics are of the label an image had before mixing.

    Args:
        classifier: `keras.Model` from raw images to logits.
        layers: List of layers that change raw images one by one.
        mix: `small_vit.Mix`, which mixes within the batch, or None.
    """

    def __init__(self, classifier, layers=(), mix=None, **kwargs):
        super().__init__(**kwargs)
        self.classifier = classifier
        self.augmentations = list(layers)
        self.mix = mix
        self.build(classifier.input_shape)

    def build(self, input_shape):
        """Nothing is left to make: augmentation has no weights, and the classifier is built."""

    def call(self, images, training=False):
        """Return logits; where training mixes, in a dict with `partners` and `share` of the mix."""
        if not training:
            return self.classifier(images, training=False)
        for layer in self.augmentations:
            images = layer(images, training=True)
        if self.mix is None:
            return self.classifier(images, training=True)
        images, partners, share = self.mix.mix_images(images)
        logits = self.classifier(images, training=True)
        return {"logits": logits, "partners": partners, "share": share}

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

    def get_config(self):
        """Return the constructor's arguments."""
        serialize = keras.saving.serialize_keras_object
        return {
            "classifier": serialize(self.classifier),
            "layers": serialize(self.augmentations),
            "mix": serialize(self.mix),
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config):
        """Make it again from `get_config`."""
        return cls(
            **{name: keras.saving.deserialize_keras_object(value) for name, value in config.items()}
        )
