"""The command line as a user meets it: what it parses, what it refuses, what it leaves."""

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import run_cifar100
from small_vit import cli
from small_vit.recipes import digits, keras_example

pytestmark = pytest.mark.any_backend

ROOT = Path(__file__).parent.parent
TINY = (
    "--recipe digits --num-layers 1 --projection-dim 8 --num-heads 1 --key-dim 8 --patch-size 4 "
    "--train-examples 128 --epochs 1"
).split()


def test_without_flags_it_is_the_keras_example_with_spt_and_lsa():
    _, config = cli.parse([])
    assert config == keras_example()
    assert config.model.arm == "spt+lsa"


def test_vanilla_switches_all_parts_off():
    _, config = cli.parse(["--vanilla"])
    assert config.model == keras_example().model.vanilla()


def test_flags_change_the_recipe():
    options, config = cli.parse(
        "--recipe digits --epochs 3 --learning-rate 0.01 --shifts cardinal --stride 1 2 "
        "--data-dir somewhere --compare --seeds 7 --decay-exclude bias norm --no-flip".split()
    )
    assert config == digits().replace(
        model={"shifts": "cardinal", "stride": (1, 2)},
        data={"data_dir": "somewhere"},
        train={"epochs": 3, "learning_rate": 0.01, "decay_exclude": ("bias", "norm")},
    )
    assert (options.compare, options.seeds) == (True, 7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--patch-size 100", "patch_size must be no larger than image_size=72. Received: 100"),
        ("--epochs 0", "epochs must be at least 1. Received: 0"),
        ("--dropout 1.5", "dropout must be at least 0 and below 1"),
        ("--compare --seeds 0", "--seeds must be at least 1"),
        ("--seeds 5", "--seeds is for --compare"),
        ("--compare --vanilla", "leave --vanilla out"),
        ("--resume nowhere", "nowhere holds no run"),
        ("--dataset imagenet", "imagenet"),
        ("--data-dir nowhere", "nowhere"),
        ("--recipe digits --train-examples 1000000", "1000000"),
        ("--recipe digits --strategy tpu", "--strategy tpu"),
        ("--recipe digits --num-layers 0", "num_layers of at least 1"),
        ("--recipe digits --train-examples 50 --drop-last", "drop_last leaves nothing"),
        ("--final-learning-rate 1", "final_learning_rate must be 0 to learning_rate=0.001"),
        ("--recipe digits --compare --train-examples 1000000", "1000000"),
        ("--recipe digits --compare --seeds 2 --seed 4294967295", "below 2**32"),
        ("--recipe digits --vanilla --shifts cardinal", "leave it out, or shifts"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(arguments, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(
            [*arguments.split(), *([] if "resume" in arguments else ["--out", f"{tmp_path}/run"])]
        )
    assert stop.value.code == 2
    error = " ".join(capsys.readouterr().err.split())
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "arguments",
    ["--no-such-flag", "--epochs many", "--backend mxnet", "--recipe no-such", "--recipe"],
)
def test_what_the_parser_refuses_exits_with_2_too(arguments):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments.split())
    assert stop.value.code == 2


def test_an_interrupted_run_says_how_to_go_on(monkeypatch, tmp_path, capsys):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    out = tmp_path / "run"
    for moment, advice in {
        "datasets.load": "the same command",
        "ShowProgress.on_train_begin": f"python run_cifar100.py --resume {out}",
    }.items():
        monkeypatch.setattr(f"small_vit.training.{moment}", interrupt)
        assert cli.main([*TINY, "--out", str(out)]) == 130
        assert advice in capsys.readouterr().out
        monkeypatch.undo()


def test_a_run_resumes_from_its_own_config_and_refuses_another(tmp_path):
    out = str(tmp_path / "run")
    assert cli.main([*TINY, "--out", out]) == 0
    assert cli.main(["--resume", out]) == 0
    for refused in (["--epochs", "2"], ["--out", "elsewhere"]):
        with pytest.raises(SystemExit) as stop:
            cli.main(["--resume", out, *refused])
        assert stop.value.code == 2


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
    assert f"{numbers['test_accuracy'] * 100:.2f}" in training.stdout
    assert 0 <= numbers["train_seconds"] < numbers["seconds"]
    assert 1 < numbers["start_seconds"] < 300
    curves = EventAccumulator(str(out / "tensorboard" / "validation")).Reload()
    last = tf.make_ndarray(curves.Tensors("epoch_accuracy")[-1].tensor_proto)
    assert last == pytest.approx(numbers["validation_accuracy"])

    photo = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 20, 3), "uint8")).save(photo)
    prediction = run("-m", "small_vit.predict", str(out), str(photo))
    assert prediction.returncode == 0, prediction.stderr
    name, *lines = prediction.stdout.splitlines()
    assert name == str(photo)
    shares = [float(line.split("%")[0]) for line in lines]
    assert len(shares) == 5
    assert shares == sorted(shares, reverse=True)


def test_the_backend_flag_reaches_keras():
    code = (
        "import os, run_cifar100 as door; os.environ.pop('KERAS_BACKEND', None);"
        "door.prepare_backend(['--epochs', '3', '--backend', 'jax']);"
        "print(os.environ['KERAS_BACKEND'])"
    )
    assert run("-c", code).stdout.strip() == "jax"


@pytest.mark.parametrize("name", ["environment.json", "comparison.json"])
def test_what_was_begun_goes_on_with_its_backend(name, tmp_path):
    (tmp_path / name).write_text('{"backend": "jax"}')
    assert run_cifar100.backend_of(tmp_path) == "jax"
    assert run_cifar100.backend_of(tmp_path / "absent") is None


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="sets glibc's malloc")
def test_the_process_keeps_freed_memory(tmp_path, monkeypatch):
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    script = tmp_path / "script.py"
    script.write_text(
        "import inspect, resource, run_cifar100 as door\n"
        "door.keep_freed_memory(inspect.currentframe()); faults = []\n"
        "for _ in range(3):\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt; bytearray(2**26)\n"
        "    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)\n"
        "print(faults[-1])"
    )
    faults_as_it_comes = int(run(str(script), GLIBC_TUNABLES="").stdout)
    assert int(run(str(script)).stdout) < faults_as_it_comes / 10


@pytest.fixture
def front_door(tmp_path, monkeypatch):
    """The front door in a folder of its own, where what it starts prints how it was started.

    Beside it lie scripts that start the same or run the front door: each prints "begun" first.
    """
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    shutil.copy(ROOT / "run_cifar100.py", tmp_path)
    (tmp_path / "small_vit").mkdir()
    (tmp_path / "small_vit" / "__init__.py").touch()
    (tmp_path / "small_vit" / "cli.py").write_text(
        "import os, sys\n"
        "def main():\n"
        "    print('trained', *sys.argv[1:], os.environ.get('GLIBC_TUNABLES', 'as it was'))\n"
    )
    scripts = {
        "starts": "from run_cifar100 import start; start('small_vit.cli')",
        "starts_in_a_function": "import run_cifar100\n"
        "def main(): run_cifar100.start('small_vit.cli')\n"
        "main()",
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
        pytest.param("starts.py --epochs 3", 2, id="another-script"),
    ],
)
def test_a_program_of_its_own_starts_over_once(command, begun, front_door):
    lines = lines_of(front_door, *command.split())
    assert lines == ["begun"] * begun + [f"trained --epochs 3 {run_cifar100.MALLOC}"]


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
def test_what_runs_the_program_does_not_start_over(command, begun, front_door):
    lines = lines_of(front_door, *command)
    assert lines.count("begun") == begun
    assert lines.count("trained as it was") == 1


@pytest.mark.parametrize("script", ["run_cifar100.py", "runs.py", "starts.py"])
@pytest.mark.parametrize("command", [["-"], [], ["/dev/stdin"]])
def test_a_program_from_standard_input_trains(command, script, front_door):
    lines = lines_of(front_door, *command, stdin=(front_door / script).read_text())
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
