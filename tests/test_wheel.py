"""The wheel and the sdist: what is in them, and that the package works without its checkout."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.any_backend

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "small_vit"
BUILD = "from setuptools import build_meta as b; b.build_sdist('dist'); b.build_wheel('dist')"


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """A folder with a wheel and an sdist, built from a copy of the sources."""
    pytest.importorskip("setuptools", minversion="77")
    copy = tmp_path_factory.mktemp("sources")
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, copy)
    for name in ("small_vit", "examples", "tests"):
        ignored = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    run([sys.executable, "-c", BUILD], copy)
    return copy / "dist"


@pytest.fixture(scope="module")
def installed(dist, tmp_path_factory):
    """A folder with the wheel unpacked."""
    site = tmp_path_factory.mktemp("site")
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def run(call, folder, **environment):
    done = subprocess.run(
        call,
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_holds_the_package_and_its_licence_alone(dist):
    (wheel,) = dist.glob("small_vit-*-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        about = next(name for name in names if name.endswith("/METADATA"))
        metadata = archive.read(about).decode()
    modules = {path.relative_to(ROOT).as_posix() for path in PACKAGE.rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == modules
    assert {name.split("/")[0] for name in names} == {"small_vit", about.split("/")[0]}
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    assert any(name.endswith("/entry_points.txt") for name in names)
    assert "License-Expression: MIT" in metadata
    assert "Requires-Dist: keras" in metadata


def test_the_sdist_holds_what_builds_the_wheel(dist):
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = {"pyproject.toml", "README.md", "LICENSE", "small_vit/__init__.py"}
    assert needed <= names


def test_the_wheel_works_from_an_empty_folder(installed, tmp_path):
    path = {"PYTHONPATH": str(installed)}
    code = "import small_vit; print(small_vit.__file__, len(small_vit.__all__))"
    file, count = run([sys.executable, "-c", code], tmp_path, **path).split()
    assert Path(file).is_relative_to(installed)
    assert int(count) > 0
    for command in ([], ["train"], ["predict"], ["evaluate"]):
        asked = [sys.executable, "-m", "small_vit", *command, "--help"]
        assert "small-vit" in run(asked, tmp_path, **path)
    assert list(tmp_path.iterdir()) == []
