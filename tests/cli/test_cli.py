"""The command line as a user meets it: what it parses, what it refuses, what it leaves."""

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from PIL import Image

import run_cifar100
from small_vit.cli import COMMANDS, compare, evaluate, process, report, sweep, train
from small_vit.cli.settings import parse
from small_vit.recipes import digits, keras_example, vanilla
from small_vit.sweeps.plan import make_plan, write_plan

ROOT = Path(__file__).parents[2]
TINY = (
    "--recipe digits --num-layers 1 --projection-dim 8 --num-heads 1 --key-dim 8 --patch-size 4 "
    "--train-examples 128 --epochs 1"
).split()


def front_door(*arguments):
    """What `python run_cifar100.py` does with these arguments; returns its exit code."""
    with mock.patch.dict(os.environ):
        return run_cifar100.main([*map(str, arguments)])


def refused(capsys, main, *arguments):
    """Run a command line; return the message it ends with."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(*arguments)
    assert stop.value.code == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "Traceback" not in error
    return error


def test_without_flags_it_is_the_keras_example_with_spt_and_lsa():
    _, config = train.parse_training([])
    assert config == keras_example()
    assert config.arm == "spt+lsa"


def test_vanilla_switches_all_parts_off():
    _, config = train.parse_training(["--vanilla"])
    assert config == vanilla(keras_example())
    assert config.arm == "vanilla"
    parts = ("shifts", "patch_norm", "temperature", "diagonal_mask")
    assert [getattr(config.model, part) for part in parts] == ["none", False, "none", False]


@pytest.mark.parametrize(
    "options_class", [train.TrainOptions, compare.CompareOptions, sweep.SweepOptions]
)
def test_flags_change_the_recipe_of_every_command_that_trains(options_class):
    arguments = (
        "--recipe digits --epochs 3 --learning-rate 0.01 --shifts cardinal --stride 1 2 "
        "--data-dir somewhere --decay-exclude bias norm --no-flip --checkpoint-minutes 2"
    )
    options, config = parse(options_class, arguments.split(), "command", "what it does", None)
    assert config == digits().replace(
        arm="custom",
        model={"shifts": "cardinal", "stride": (1, 2)},
        augment={"flip": False},
        data={"data_dir": "somewhere"},
        train={"epochs": 3, "learning_rate": 0.01, "decay_exclude": ("bias", "norm")},
    )
    assert options.checkpoint_minutes == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--patch-size 100", "patch_size must be no larger than image_size=72. Received: 100"),
        (
            "--recipe digits --image-size 0",
            "image_size must be a positive int or a (height, width)",
        ),
        ("--model ViT-B/0", "patch_size must be a positive int or a (height, width) of two"),
        ("--epochs 0", "epochs must be at least 1. Received: 0"),
        ("--dropout 1.5", "dropout must be at least 0 and below 1"),
        ("--checkpoint-minutes -1", "--checkpoint-minutes must be at least 0"),
        ("--compare --seeds 0", "--seeds must be at least 1"),
        ("--seeds 5", "--seeds"),
        ("--compare --vanilla", "leave out --vanilla"),
        ("--vanilla --compare", "leave out --vanilla"),
        ("--resume nowhere", "nowhere holds no run"),
        ("--compare --resume nowhere", "nowhere holds no comparison"),
        ("--dataset imagenet", "imagenet"),
        ("--data-dir nowhere", "nowhere"),
        ("--recipe digits --train-examples 1000000", "1000000"),
        ("--recipe digits --strategy tpu", "--strategy tpu"),
        ("--recipe digits --train-examples 50 --drop-last", "drop_last leaves no batch"),
        ("--final-learning-rate 1", "final_learning_rate must be 0 to learning_rate=0.001"),
        ("--recipe digits --compare --train-examples 1000000", "1000000"),
        ("--recipe digits --compare --seeds 2 --seed 4294967295", "below 2**32"),
        ("--recipe digits --vanilla --shifts cardinal", "Leave it out, or leave out shifts"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(arguments, message, tmp_path, capsys):
    out = [] if "resume" in arguments else ["--out", f"{tmp_path}/run"]
    assert message in refused(capsys, front_door, *arguments.split(), *out)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("start", [[], ["--compare"]])
@pytest.mark.parametrize(
    "arguments",
    ["--no-such-flag", "--epochs many", "--backend mxnet", "--recipe no-such", "--recipe"],
)
def test_what_the_parser_refuses_exits_with_2_too(arguments, start, capsys):
    refused(capsys, front_door, *start, *arguments.split())


@pytest.mark.parametrize(
    ("prog", "command"),
    [("small-vit train", "small-vit train"), ("run_cifar100.py", "python run_cifar100.py")],
)
def test_an_interrupted_run_says_how_to_resume_it(prog, command, monkeypatch, tmp_path, capsys):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    out = tmp_path / "run"
    for moment, advice in {
        "prepare.load_data": "Resume with: the same command",
        "progress.ShowProgress.on_train_begin": f"Resume with: {command} --resume {out}",
    }.items():
        monkeypatch.setattr(f"small_vit.training.{moment}", interrupt)
        assert train.main([*TINY, "--out", str(out)], prog=prog) == 130
        assert advice in capsys.readouterr().out
        monkeypatch.undo()


# ------------------------------------------------------------------------- with a finished run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a finished run."""
    out = tmp_path_factory.mktemp("finished") / "run"
    assert front_door(*TINY, "--out", out) == 0
    return out


def test_a_run_resumes_from_its_own_config_and_refuses_another(finished, capsys):
    assert front_door("--resume", finished) == 0
    assert "train.batch_size" in refused(
        capsys, front_door, "--resume", finished, "--batch-size", "9"
    )
    assert "cannot be extended to 2 epochs" in refused(
        capsys, front_door, "--resume", finished, "--epochs", "2"
    )
    assert "arm: spt+lsa -> vanilla" in refused(
        capsys, front_door, "--resume", finished, "--vanilla"
    )
    assert "leave out --out" in refused(
        capsys, front_door, "--resume", finished, "--out", "elsewhere"
    )


@pytest.mark.parametrize(
    ("arguments", "arm"),
    [
        ("--recipe cpu", "spt+lsa"),
        ("--recipe cpu --projection-dim 32", "spt+lsa"),
        ("--recipe cpu --shifts none", "custom"),
        ("--recipe cpu --vanilla", "vanilla"),
    ],
)
def test_a_model_of_other_parts_is_not_called_by_the_recipes_arm(arguments, arm):
    _, config = train.parse_training(arguments.split())
    assert config.arm == arm


@pytest.mark.parametrize("command", [evaluate, report])
def test_a_folder_of_several_runs_is_refused_with_their_names(command, tmp_path, capsys):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "config.json").write_text("{}")
    error = refused(capsys, command.main, [str(tmp_path)])
    assert f"{tmp_path} holds no run." in error and f"It holds several: {tmp_path}/one" in error


def test_train_says_how_to_resume_a_sweep(tmp_path, capsys):
    write_plan(make_plan("temperature", digits(), 1, tmp_path))
    error = refused(capsys, train.main, ["--resume", str(tmp_path)])
    assert f"holds a sweep. Resume it with small-vit sweep --resume {tmp_path}." in error


def test_evaluate_measures_what_the_run_has_measured(finished, capsys):
    metrics = json.loads((finished / "result.json").read_text())["metrics"]
    files = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    capsys.readouterr()
    assert evaluate.main([str(finished), "--batch-size", "100"]) == 0
    shown = capsys.readouterr().out
    assert "spt+lsa on the test set of digits, 360 images" in shown
    assert f"| top-1 accuracy | {metrics['accuracy']:.2%} (" in shown
    assert f"| top-5 accuracy | {metrics['top5_accuracy']:.2%} (" in shown
    loss = float(shown.split("| cross-entropy |")[1].split("(")[0])
    assert loss == pytest.approx(metrics["loss"], abs=1e-4)
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == files


def test_report_makes_the_report_anew(finished, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    told = (run / "report.md").read_text()
    pictures = sorted(path.name for path in run.glob("*.png"))
    assert "curves.png" in pictures
    for name in ("report.md", *pictures):
        (run / name).unlink()
    assert report.main([str(run)]) == 0
    assert f"Written to {run / 'report.md'}" in capsys.readouterr().out
    assert (run / "report.md").read_text() == told
    assert sorted(path.name for path in run.glob("*.png")) == pictures


@pytest.mark.parametrize("command", [evaluate, report])
def test_a_run_that_has_not_ended_is_no_finished_one(command, finished, tmp_path, capsys):
    absent = str(tmp_path / "absent")
    assert f"{absent} holds no run" in refused(capsys, command.main, [absent])
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (run / "model.keras").unlink()
    assert "has not ended" in refused(capsys, command.main, [str(run)])


def test_a_run_on_its_way_to_more_epochs_has_no_report_yet(finished, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    told = json.loads((run / "config.json").read_text())
    told["train"]["epochs"] = 2
    (run / "config.json").write_text(json.dumps(told))
    assert "has not ended" in refused(capsys, report.main, [str(run)])
    assert "has not ended" in refused(capsys, evaluate.main, [str(run)])


def test_a_batch_has_an_image_at_least(finished, capsys):
    error = refused(capsys, evaluate.main, [str(finished), "--batch-size", "0"])
    assert "--batch-size must be at least 1. Received: 0" in error


# ---------------------------------------------------------------------------------- processes


def run(*command, **environment):
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_front_door_trains_and_the_model_can_be_used(tmp_path):
    """One process for each command, as printed in the README."""
    tf = pytest.importorskip("tensorflow", reason="TensorBoard's curves need it")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    out = tmp_path / "run"
    # On TensorFlow, determinism refuses what would not be.
    training = run("run_cifar100.py", *TINY, "--out", str(out), "--tensorboard", "--deterministic")
    assert training.returncode == 0, training.stderr
    assert f"Written to {out}" in training.stdout
    numbers = json.loads((out / "result.json").read_text())
    assert f"{numbers['metrics']['accuracy'] * 100:.2f}" in training.stdout
    assert 0 <= numbers["train_seconds"] < numbers["seconds"]
    assert 1 < numbers["start_seconds"] < 300
    curves = EventAccumulator(str(out / "tensorboard" / "validation")).Reload()
    last = tf.make_ndarray(curves.Tensors("epoch_accuracy")[-1].tensor_proto)
    assert last == pytest.approx(numbers["validation"]["accuracy"])

    photo = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 20, 3), "uint8")).save(photo)
    prediction = run("-m", "small_vit", "predict", str(out), str(photo))
    assert prediction.returncode == 0, prediction.stderr
    name, *lines = prediction.stdout.splitlines()
    assert name == str(photo)
    shares = [float(line.split("%")[0]) for line in lines]
    assert len(shares) == 5
    assert shares == sorted(shares, reverse=True)


def test_the_backend_flag_reaches_keras():
    code = (
        "import os; from small_vit.cli import process; os.environ.pop('KERAS_BACKEND', None);"
        "process.prepare_backend(['--epochs', '3', '--backend', 'jax']);"
        "print(os.environ['KERAS_BACKEND'])"
    )
    assert run("-c", code).stdout.strip() == "jax"


@pytest.mark.parametrize("name", ["environment.json", "sweep.json"])
def test_what_was_stopped_is_resumed_with_its_backend(name, tmp_path):
    (tmp_path / name).write_text('{"backend": "jax"}')
    assert process.backend_of(tmp_path) == "jax"
    assert process.backend_of(tmp_path / "absent") is None
    with mock.patch.dict(os.environ, KERAS_BACKEND="torch"):
        process.prepare_backend(["--resume", str(tmp_path)])
        assert os.environ["KERAS_BACKEND"] == "jax"
        process.prepare_backend(["--resume", str(tmp_path), "--backend", "tensorflow"])
        assert os.environ["KERAS_BACKEND"] == "tensorflow"


@pytest.fixture
def command_module(tmp_path, monkeypatch):
    """Makes a module with a `main` of this code; returns the module's name."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(code):
        name = f"{tmp_path.name}_{len(list(tmp_path.iterdir()))}"  # imported once
        (tmp_path / f"{name}.py").write_text(f"def main(arguments, **options):\n    {code}\n")
        return name

    return make


def run_command(*arguments, **options):
    with mock.patch.dict(os.environ):
        return process.run_command(*arguments, **options)


def test_a_command_gets_its_arguments_and_gives_its_exit_code(command_module):
    name = command_module("return 7 if (arguments, options) == (['a'], {'prog': 'p'}) else 0")
    assert run_command(name, ["a"], prog="p") == 7
    assert run_command(command_module("raise KeyboardInterrupt"), []) == 130


@pytest.mark.parametrize(
    ("module", "advice"),
    [
        ("torch", "pip install -e '.[torch]', or choose --backend tensorflow or --backend jax."),
        (
            "tensorflow",
            "pip install -e '.[tensorflow]', or choose --backend jax or --backend torch.",
        ),
        ("sklearn.metrics", "pip install -e '.[train]'."),
    ],
)
def test_what_is_not_installed_is_named_with_its_extra(
    module, advice, command_module, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, module, None)
    assert run_command(command_module(f"import {module}"), []) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: this needs {module}, which is not installed.")
    assert advice in error


def test_a_module_of_no_extra_is_a_fault_of_the_program(command_module):
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        run_command(command_module("import no_such_module"), [])


@pytest.mark.parametrize("command", [*COMMANDS, "run_cifar100.py", "run_cifar100.py --compare"])
def test_help_answers_without_keras(command):
    code = """
import runpy, sys
try:
    if sys.argv[1] == "run_cifar100.py":
        sys.argv.pop(0)
        runpy.run_path(sys.argv[0], run_name="__main__")
    else:
        from small_vit.cli import main
        main()
except SystemExit as stop:
    print(stop.code, *sorted({"keras", "jax", "tensorflow", "torch", "scipy"} & set(sys.modules)))
"""
    asked = run("-c", code, *command.split(), "--help")
    assert asked.returncode == 0, asked.stderr
    *told, last = asked.stdout.splitlines()
    assert last == "0"
    assert any(line.startswith("usage: ") for line in told)


def test_without_a_command_the_commands_are_listed():
    for arguments in ([], ["--help"]):
        asked = run("-m", "small_vit", *arguments)
        assert asked.returncode == 0, asked.stderr
        for name, what in COMMANDS.items():
            assert f"{name} " in asked.stdout and what in asked.stdout


def test_an_unknown_command_is_one_line_and_exit_code_2():
    asked = run("-m", "small_vit", "trian", "--epochs", "3")
    assert (asked.returncode, asked.stdout) == (2, "")
    (line,) = asked.stderr.splitlines()
    assert line.startswith("error: 'trian' is no command.")
    assert all(name in line for name in COMMANDS)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="sets glibc's malloc")
def test_the_process_keeps_freed_memory(tmp_path, monkeypatch):
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    script = tmp_path / "script.py"
    script.write_text(
        "import inspect, resource, small_vit.cli.process as process\n"
        "process.keep_freed_memory(inspect.currentframe()); faults = []\n"
        "for _ in range(3):\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt; bytearray(2**26)\n"
        "    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)\n"
        "print(faults[-1])"
    )
    faults_as_it_comes = int(run(str(script), GLIBC_TUNABLES="").stdout)
    assert int(run(str(script)).stdout) < faults_as_it_comes / 10


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A folder with the front door, where a command prints how it was started.

    Beside the front door lie scripts that start the same or run it: each prints "begun" first.
    """
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "small_vit" / "cli").mkdir(parents=True)
    (tmp_path / "small_vit" / "__init__.py").touch()
    for name in (
        "run_cifar100.py",
        "small_vit/__main__.py",
        "small_vit/cli/__init__.py",
        "small_vit/cli/process.py",
    ):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "small_vit" / "cli" / "train.py").write_text(
        "import os\n"
        "def main(arguments, prog):\n"
        "    print('trained', *arguments, os.environ.get('GLIBC_TUNABLES', 'as it was'))\n"
    )
    scripts = {
        # As experiments/ablation.py starts.
        "starts": "import inspect, sys\n"
        "from small_vit.cli.process import keep_freed_memory, run_command\n"
        "keep_freed_memory(inspect.currentframe())\n"
        "sys.exit(run_command('small_vit.cli.train', sys.argv[1:], prog='starts'))",
        # As pip writes it.
        "console": "import sys\nfrom small_vit.cli import main\nsys.exit(main())",
        "starts_in_a_function": "import sys, small_vit.cli\n"
        "def main(): small_vit.cli.main()\n"
        "sys.argv.append('train'); main()",
        "runs": "import runpy; runpy.run_path('run_cifar100.py', run_name='__main__')",
        "executes": "exec(open('run_cifar100.py').read())",
    }
    for name, code in scripts.items():
        (tmp_path / f"{name}.py").write_text(f"print('begun', flush=True)\n{code}\n")
    return tmp_path


def lines_of(folder, *command, stdin=""):
    """What Python prints that is started with `command` in `folder`."""
    command = [sys.executable, *command]
    ended = subprocess.run(
        command, cwd=folder, input=stdin, capture_output=True, text=True, timeout=60, check=True
    )
    return ended.stdout.splitlines()


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is Linux's")
@pytest.mark.parametrize(
    ("command", "begun"),
    [
        pytest.param("run_cifar100.py --epochs 3", 0, id="script"),
        pytest.param("-u -X dev run_cifar100.py --epochs 3", 0, id="python-options"),
        pytest.param("-m run_cifar100 --epochs 3", 0, id="module"),
        pytest.param("-m small_vit train --epochs 3", 0, id="package"),
        pytest.param("starts.py --epochs 3", 2, id="another-script"),
        pytest.param("console.py train --epochs 3", 2, id="console-script"),
    ],
)
def test_a_program_of_its_own_starts_over_once(command, begun, programs):
    lines = lines_of(programs, *command.split())
    assert lines == ["begun"] * begun + [f"trained --epochs 3 {process.MALLOC}"]


@pytest.mark.parametrize(
    ("command", "begun"),
    [
        pytest.param(["runs.py"], 1, id="runpy"),
        pytest.param(["-m", "runs"], 1, id="runpy-in-a-module"),
        pytest.param(["-c", "import runs"], 1, id="runpy-in-a-command"),
        pytest.param(["executes.py"], 1, id="exec"),
        pytest.param(["starts_in_a_function.py"], 1, id="function"),
        pytest.param("-m pdb -c continue -c quit run_cifar100.py".split(), 0, id="pdb"),
        pytest.param("-m cProfile -o profile run_cifar100.py".split(), 0, id="cProfile"),
        pytest.param("-m trace --listfuncs run_cifar100.py".split(), 0, id="trace"),
    ],
)
def test_what_runs_the_program_does_not_start_over(command, begun, programs):
    lines = lines_of(programs, *command)
    assert lines.count("begun") == begun
    assert lines.count("trained as it was") == 1


@pytest.mark.parametrize("script", ["run_cifar100.py", "runs.py", "starts.py"])
@pytest.mark.parametrize("command", [["-"], [], ["/dev/stdin"]])
def test_a_program_from_standard_input_trains(command, script, programs):
    lines = lines_of(programs, *command, stdin=(programs / script).read_text())
    assert lines.count("trained as it was") == 1
    assert lines.count("begun") == (script != "run_cifar100.py")


def test_a_second_run_finds_its_program_compiled(tmp_path, monkeypatch):
    pytest.importorskip("jax")
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    listings = []
    for name in ("first", "second"):
        arguments = ("--backend", "jax", "--out", str(tmp_path / name))
        run("run_cifar100.py", *TINY, *arguments, HOME=str(tmp_path))
        programs = (tmp_path / ".cache" / "small_vit" / "jax").glob("jit__steps*-cache")
        listings.append(sorted(program.name for program in programs))
    assert listings[0] and listings[0] == listings[1]


def test_a_model_is_taken_by_its_name():
    _, config = train.parse_training(["--recipe", "digits", "--model", "CCT-2/3x2"])
    assert (config.model.kind, config.arm) == ("cct", "cct-2/3x2")
    assert config.model.num_layers == 2
    changed = ["--model", "resnet20", "--image-size", "16", "--depth", "56"]
    _, config = train.parse_training(["--recipe", "digits", *changed])
    assert (config.model.kind, config.model.depth, config.model.image_size) == ("resnet", 56, 16)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "resnet21"], "resnet20"),
        (["--model", "resnet20", "--vanilla"], "--vanilla is for models with SPT or LSA"),
        (["--model", "resnet20", "--resume", "runs/x"], "leave out --model"),
    ],
)
def test_a_model_that_is_not_there_or_cannot_be_is_refused(arguments, message, capsys):
    assert message in refused(capsys, train.main, ["--recipe", "digits", *arguments])
