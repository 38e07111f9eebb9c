"""Where the measured rows are, and the commands that add to them."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "experiments" / "results"
SPEED_ROWS = Path("speed") / "benchmark.jsonl"
"""The file of `experiments/benchmark.py`, in the folder of rows."""
FAMILY_SPEED_ROWS = Path("speed") / "families.jsonl"
"""The same for the models of several families."""
BENCHMARK_COMMAND = "python experiments/benchmark.py"
FAMILY_BENCHMARK_COMMAND = (
    f"{BENCHMARK_COMMAND} --models cpu --arms vanilla --backends tensorflow --contenders ours "
    "hybrid cct-2/3x2 cct-7/3x1 resnet20 resnet56 resnet110 resnet18 --reference ours tensorflow "
    "--rounds 3 --steps 1 --to experiments/results/speed/families.jsonl; the same with --arms "
    "spt+lsa --contenders ours resnet20 --reference resnet20 tensorflow"
)
SEEDS = {"keras-example": 5, "cpu": 5}  # others: 3


def comparison_command(recipe):
    """Return the command that trains both arms of a recipe and adds their rows."""
    return f"python experiments/compare.py --recipe {recipe} --seeds {SEEDS.get(recipe, 3)}"


def sweep_command(sweep, recipe):
    """Return the command that runs a sweep and appends its rows."""
    return f"python experiments/ablation.py {sweep} --recipe {recipe}"


def rest_to_run(summaries, sweep, recipe):
    """Return the command for the missing rows, in a list: empty if all arms have equally many."""
    counts = {len(summary.rows) for summary in summaries}
    return [] if len(counts) == 1 else [f"The rest: `{sweep_command(sweep, recipe)}`"]


def not_yet_run(command):
    """Return the text in place of a table whose rows `command` has not made yet."""
    return f"Not yet run: `{command}`"
