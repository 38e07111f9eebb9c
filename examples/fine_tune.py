"""Learn the digits 0 to 4, then 5 to 9 from ten pictures each: `python fine_tune.py [OUT]`."""

import sys
from pathlib import Path

from PIL import Image
from sklearn.datasets import load_digits

from small_vit.recipes import RECIPES
from small_vit.recipes.fine_tune import starting_from
from small_vit.recipes.folders import on_folder
from small_vit.training.run import run_experiment


def write_images(folder, digits, train_images):
    """Write folder/train/DIGIT/*.png from the first images of each digit; the rest are test."""
    scans = load_digits()
    for digit in digits:
        for number, image in enumerate(scans.images[scans.target == digit]):
            part = folder / ("train" if number < train_images else "test") / str(digit)
            part.mkdir(parents=True, exist_ok=True)
            Image.fromarray((image * 15).astype("uint8")).save(part / f"{number}.png")
    return folder


def main(out="runs/fine-tune-example", epochs=20):
    """Return the test accuracy from scratch and that of the fine-tuned model."""
    many = write_images(Path(out, "many"), range(5), 140)
    few = write_images(Path(out, "few"), range(5, 10), 10)
    scratch = RECIPES["digits"]().replace(train={"epochs": epochs})
    run_experiment(on_folder(scratch, many), Path(out, "source"))
    tuned = RECIPES["fine-tune"]().replace(augment=scratch.augment, train={"epochs": epochs})
    tuned = starting_from(tuned, Path(out, "source"), scratch.model)
    arms = {"scratch": scratch, "fine-tuned": tuned}
    results = {arm: run_experiment(on_folder(arms[arm], few), Path(out, arm)) for arm in arms}
    accuracies = {arm: result.metrics["accuracy"] for arm, result in results.items()}
    print(accuracies)
    return accuracies


if __name__ == "__main__":
    main(*sys.argv[1:])
