"""What the numbers of a run show and do not show, in sentences.

Each function takes numbers and returns a sentence, or None where there is nothing to say. An
accuracy is of 1, an interval is `(low, high)`.
"""

from small_vit.report.markdown import escape

WIDE = 0.05
"""An interval of the accuracy that is wider than this cannot tell similar models apart."""
OVERFITTED = 0.1
"""Training accuracy above validation's by more than this is said."""
BADLY_CALIBRATED = 0.03
"""A mean confidence further from the accuracy than this is said."""
FEWEST_ERRORS = 5
"""Of fewer errors it is not said which class they are in."""


def accuracy_on_test(accuracy, interval, images):
    """Say the accuracy on the test set."""
    low, high = interval
    return (
        f"**{accuracy:.1%}** of {images:,} test images are classified correctly (95 % interval "
        f"{low:.1%} to {high:.1%})."
    )


def guessing(share, name, interval):
    """Say how often one class would be right for every image.

    Args:
        share: Part of the test images that are of the class.
        name: The class; None if several are equally common in training.
        interval: Of the model's accuracy.
    """
    guess = (
        "Naming the same class every time"
        if name is None
        else f"Naming {escape(name)}, the commonest class in training, every time"
    )
    told = f"{guess} would be right for {share:.1%}."
    if interval[0] <= share:
        told += " **The test does not show that the model is better than that.**"
    return told


def wide_interval(interval, images):
    """Say that there are too few test images, if the interval is wider than 5 points."""
    low, high = interval
    if high - low <= WIDE:
        return None
    return (
        f"The test set is small: with {images:,} images the accuracy may be anything from "
        f"{low:.1%} to {high:.1%}. Differences between two models that are smaller than these "
        f"{100 * (high - low):.1f} points can hardly be seen here."
    )


def class_with_most_errors(counts, class_names):
    """Say which class has more than half of the errors, or of two classes more than 3 in 4.

    Args:
        counts: `(classes, classes)`, images by true class and predicted class.
        class_names: Names of the classes.
    """
    wrong = counts.copy()
    for label in range(len(wrong)):
        wrong[label, label] = 0
    errors, worst = int(wrong.sum()), int(wrong.sum(axis=1).argmax())
    of_worst = int(wrong[worst].sum())
    most = 0.5 if len(class_names) > 2 else 0.75
    if errors < FEWEST_ERRORS or of_worst <= most * errors:
        return None
    taken_for = int(wrong[worst].argmax())
    told = f"One class has most errors: {of_worst:,} of {errors:,} are images of "
    told += f"{escape(class_names[worst])}"
    if len(class_names) == 2:
        return f"{told}, taken for {escape(class_names[taken_for])}."
    often = int(wrong[worst, taken_for])
    return f"{told}, most often taken for {escape(class_names[taken_for])} ({often:,})."


def validation_differs(validation, interval):
    """Say that the accuracy on validation lies outside the interval of the one on test."""
    low, high = interval
    if low <= validation <= high:
        return None
    side = "above" if validation > high else "below"
    reasons = (
        "The weights or settings may be fitted to the validation images, or these are easier"
        if side == "above"
        else "The validation images may be harder"
    )
    return (
        f"Validation and test disagree: {validation:.1%} on validation is {side} the test's "
        f"interval. {reasons}; with few validation images it may be chance."
    )


def overfitted(training, validation):
    """Say that training accuracy is more than 10 points above validation accuracy."""
    if training - validation <= OVERFITTED:
        return None
    return (
        f"Training accuracy, {training:.1%}, is {100 * (training - validation):.1f} points above "
        "validation: the model knows its training images better than new ones. More images, "
        "stronger augmentation or a smaller model may help."
    )


def confidence_differs(confidence, accuracy, interval, calibrated):
    """Say that the model is over- or under-confident.

    Args:
        confidence: Mean probability of the predicted classes.
        accuracy: Of the same images.
        interval: Of the accuracy.
        calibrated: Whether its probabilities are calibrated on validation.
    """
    if interval[0] <= confidence <= interval[1] or abs(confidence - accuracy) <= BADLY_CALIBRATED:
        return None
    kind = "over-confident" if confidence > accuracy else "under-confident"
    advice = (
        "although they are calibrated on validation"
        if calibrated
        else "or scale them with `--calibrate`"
    )
    return (
        f"The model is {kind}: it gives its answers a probability of {confidence:.1%} on average, "
        f"and {accuracy:.1%} are right. Do not read its probabilities as rates, {advice}."
    )


def copies_across_splits(copies, images):
    """Say that test images have copies among the images that the model was made with.

    Args:
        copies: Number of such test images.
        images: Number of test images.
    """
    if not copies:
        return None
    return (
        f"**{copies:,} of {images:,} test images have a copy in training or validation: the test "
        "figures are too good.** `--drop-duplicates` leaves them out."
    )
