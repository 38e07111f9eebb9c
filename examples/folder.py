"""From a folder of images to a model that is used: `python folder.py DIR [NEW_IMAGE…]`.

DIR holds a folder for each class. The run, with its report, goes to runs/folder-example.
"""

import sys

from small_vit.recipes.folders import for_folder, on_folder
from small_vit.results.image_predictions import predict_files
from small_vit.results.saved_model import load_model
from small_vit.training.run import run_experiment


def main(images, new_images, run="runs/folder-example", **changes):
    """Train on a folder of images, and return the class of each new one."""
    config = on_folder(for_folder(images), images)  # the recipe follows from their number
    config = config.replace(train=changes)
    result = run_experiment(config, run)
    low, high = result.intervals["accuracy"]
    print(
        f"{result.metrics['accuracy']:.1%} of the test images are right ({low:.1%} to {high:.1%})."
    )

    model, class_names = load_model(run)
    classes = []
    for path, probabilities in predict_files(
        model, new_images, "logits", config.data.fit, batch_size=32, on_unreadable=print
    ):
        classes.append(class_names[probabilities.argmax()])
        print(f"{path}: {classes[-1]} ({probabilities.max():.1%})")
    return classes


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
