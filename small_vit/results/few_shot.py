"""Few-shot evaluation: a linear classifier on frozen features of a few images of each class.

Source: Dosovitskiy et al., arXiv 2010.11929, section 4.1: regularised least squares from the
features of a frozen backbone to targets in {-1, 1}^K.
"""

from dataclasses import dataclass

import keras
import numpy as np
from scipy import linalg
from sklearn.preprocessing import StandardScaler

from small_vit.errors import InputError
from small_vit.models.registry import backbone_and_head
from small_vit.results.predictions import predict_split

PENALTIES = tuple(2.0**power for power in range(-10, 21, 2))
"""Values of l2 to choose from."""


@dataclass(frozen=True)
class FewShot:
    """What linear classifiers reach that are fitted to the same number of shots.

    Attributes:
        l2: Their penalty.
        validation: Top-1 accuracy on the validation images, of 1, by draw.
        accuracy: Top-1 accuracy on the test images, of 1, by draw.
    """

    l2: float
    validation: list[float]
    accuracy: list[float]


@dataclass(frozen=True)
class RunFewShot:
    """What the features of a run's model reach.

    Attributes:
        name: Of the run, in table and curve.
        run: Its directory.
        features: Number of features of an image.
        shots: `FewShot` by number of shots.
        note: What is to be said of the images that the model has seen in its training, or the model
            whose weights it started from; None if nothing.
    """

    name: str
    run: str
    features: int
    shots: dict[int, FewShot]
    note: str | None = None


def backbone_for(model, image_shape, path):
    """Return the part of a classifier that gives features, for images of a dataset.

    Args:
        model: Trained classifier of this package.
        image_shape: (height, width, channels) of the images. A model of colour images takes grey
            ones too.
        path: Where the model is from, for messages.

    Returns:
        A `keras.Model` from images to features `(batch, features)`.

    Raises:
        InputError: if the model has no layer "pooling", or takes other images.
    """
    if "pooling" not in [layer.name for layer in model.layers]:
        raise InputError(
            f'{path} has no layer "pooling", whose output would be the features. Name a run of a '
            "model of this package."
        )
    backbone, _ = backbone_and_head(model)
    expected = tuple(model.input_shape[1:])
    if image_shape == expected:
        return backbone
    if image_shape == (*expected[:2], 1):
        grey = keras.Input(image_shape)
        return keras.Model(grey, backbone(keras.layers.Concatenate()([grey] * 3)))
    raise InputError(
        f"The model of {path} takes images of (height, width, channels) = {expected}. Received: "
        f"images of {image_shape}. Name a run on images of this shape."
    )


def features_of(backbone, split, batch_size=256, on_batch=lambda images: None):
    """Compute the features of a split, one batch of images in memory at a time.

    Args:
        backbone: `keras.Model` from images to features.
        split: `Split`.
        batch_size: Images per batch.
        on_batch: Called with the number of images of each batch that is done.

    Returns:
        float32 array `(examples, features)`.
    """
    features = []
    for first in range(0, len(split), batch_size):
        batch = split.subset(slice(first, first + batch_size))
        features.append(predict_split(backbone, batch, batch_size))
        on_batch(len(batch))
    return np.concatenate(features)


def draw_shots(labels, class_names, most, draws, seed):
    """Draw images of each class, in an order: the first n of a class are its n shots.

    So 5 shots contain the 1-shot images. A draw depends on `seed`, its number and the labels alone.

    Args:
        labels: Of the training images, whole numbers `(examples,)`.
        class_names: Name of class 0, 1, …
        most: Largest number of shots.
        draws: Number of draws.
        seed: Seed of the draws, at least 0.

    Returns:
        Rows of the training images, int `(draws, classes, most)`.

    Raises:
        InputError: if a class has fewer images than `most`.
    """
    counts = np.bincount(labels, minlength=len(class_names))
    scarce = counts.argmin()
    if not counts[scarce]:
        raise InputError(
            f"--shots needs training images of each class. Class {class_names[scarce]} has none."
        )
    if counts[scarce] < most:
        raise InputError(
            f"--shots {most} needs {most} training images of each class. Received: "
            f"{counts[scarce]} of class {class_names[scarce]}. Take at most {counts[scarce]} shots."
        )
    of_class = [np.flatnonzero(labels == label) for label in range(len(class_names))]
    generators = [np.random.default_rng([seed, draw]) for draw in range(draws)]
    return np.array([[draw.permutation(rows)[:most] for rows in of_class] for draw in generators])


def measure_draws(images, draws, validation, test, on_fit=lambda: None):
    """Measure several draws of the same number of shots.

    l2 is the one of `PENALTIES` with the highest accuracy on the validation images, the mean over
    draws; of equal ones the largest. Only then is the test set measured.

    Args:
        images: `(features, labels)` that the shots are drawn from.
        draws: For each draw the rows of its shots, equally many of each class.
        validation: `(features, labels)`.
        test: `(features, labels)`.
        on_fit: Called twice for each draw, when its classifiers are fitted.

    Returns:
        `FewShot`.
    """

    def accuracies(measured_on, penalties):
        for rows in draws:
            shots = images[0][rows], images[1][rows]
            yield few_shot_accuracies(shots, measured_on, penalties)
            on_fit()

    validated = np.array(list(accuracies(validation, PENALTIES)))
    _, l2, best = max(zip(validated.mean(axis=0), PENALTIES, validated.T.tolist(), strict=True))
    return FewShot(l2, best, [accuracy for (accuracy,) in accuracies(test, [l2])])


def few_shot_accuracies(shots, images, penalties):
    """Fit a linear classifier to the features of a few images for each penalty, and measure it.

    Features are standardised by the mean and deviation of the shots. The class with the highest
    output is predicted.

    Args:
        shots: `(features, labels)`, equally many of each class 0, 1, …, K - 1.
        images: `(features, labels)` to measure on.
        penalties: Values of l2, above 0.

    Returns:
        List of top-1 accuracies, of 1.
    """
    features, labels = shots
    features = features.astype("float64")
    scaler = StandardScaler().fit(features)
    targets = 2.0 * np.eye(labels.max() + 1)[labels] - 1.0
    standardised = scaler.transform(images[0])
    accuracies = []
    for weights in ridge_weights(scaler.transform(features), targets, penalties):
        # The offset is the same for every class, so the highest output needs none.
        outputs = standardised @ weights.astype(standardised.dtype)
        accuracies.append(float(np.mean(outputs.argmax(axis=1) == images[1])))
    return accuracies


def ridge_weights(features, targets, penalties):
    """Yield the weights of regularised least squares for each of several penalties.

    These are the minimum of ‖X W + b - Y‖² + l2 ‖W‖² over W and b, where the columns of X have mean
    zero: (Xᵀ X + l2)⁻¹ Xᵀ Y or, if there are fewer examples than features, the same as
    Xᵀ (X Xᵀ + l2)⁻¹ Y (the dual form). scikit-learn's `Ridge` computes the same, but for each
    penalty the products again, which takes twice as long for thousands of shots and features.

    Args:
        features: X, float64 `(examples, features)`.
        targets: Y, float64 `(examples, classes)`.
        penalties: Values of l2, above 0.

    Yields:
        W, `(features, classes)`.
    """
    dual = len(features) < features.shape[1]
    products = features @ features.T if dual else features.T @ features
    right = targets if dual else features.T @ targets
    for l2 in penalties:
        solved = linalg.solve(products + l2 * np.eye(len(products)), right, assume_a="pos")
        yield features.T @ solved if dual else solved
