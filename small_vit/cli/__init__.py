"""The command line: `small-vit COMMAND`, also `python -m small_vit COMMAND`.

A command is a module here, imported when it is called. Its `main` parses the arguments before it
imports Keras, so that `--help` answers at once.
"""

import inspect
import sys

from small_vit.cli.process import keep_freed_memory, run_command

COMMANDS = {
    "train": "train one model",
    "compare": "train the plain ViT and SPT+LSA on the same seeds, and print the table",
    "sweep": "train all arms of a named ablation on the same seeds",
    "transfer": "compare a trained model as a start with training from scratch, on other images",
    "predict": "classify image files with a trained model",
    "evaluate": "measure a trained model on the test set",
    "few-shot": "measure a trained model's features on a few images of each class",
    "report": "write the report of a run again",
    "export": "write a trained model in a format that runs without Keras",
    "demo": "show a trained model on a web page",
    "card": "write a model card",
    "push": "publish a trained model on a hub",
}


def main():
    """Run the command that `sys.argv` names, and exit with its code."""
    keep_freed_memory(inspect.currentframe().f_back)
    command, arguments = (sys.argv[1] if len(sys.argv) > 1 else "--help"), sys.argv[2:]
    if command in ("-h", "--help"):
        print(_overview())
        sys.exit(0)
    if command not in COMMANDS:
        print(
            f"error: {command!r} is no command. Choose one of: {', '.join(COMMANDS)}.",
            file=sys.stderr,
        )
        sys.exit(2)
    module = f"small_vit.cli.{command.replace('-', '_')}"
    sys.exit(run_command(module, arguments, prog=f"small-vit {command}"))


def _overview():
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {what}" for name, what in COMMANDS.items()]
    return "\n".join(
        [
            "Vision Transformers trained from scratch on small datasets.",
            "",
            "small-vit COMMAND …; small-vit COMMAND --help explains each command:",
            "",
            *lines,
        ]
    )
