"""Learn the digits 0 to 6, then 7 to 9 from ten pictures each: `python fine_tune.py [OUT]`."""

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


def main(out=Path("runs/fine-tune-example"), epochs=40):
    """Return the test accuracy from scratch, and that of the fine-tuned model."""
    many = write_images(out / "many", range(7), 140)
    few = write_images(out / "few", range(7, 10), 10)
    scratch = RECIPES["digits"]().replace(train={"epochs": epochs, "batch_size": 16})
    run_experiment(on_folder(scratch, many), out / "source")
    tuned = starting_from(scratch, out / "source", scratch.model)
    arms = {"scratch": scratch, "fine-tuned": tuned}
    results = {arm: run_experiment(on_folder(arms[arm], few), out / arm) for arm in arms}
    return {arm: result.metrics["accuracy"] for arm, result in results.items()}


if __name__ == "__main__":
    print(main(*map(Path, sys.argv[1:])))
