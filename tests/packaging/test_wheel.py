"""The wheel: what is in it, and that it works where no checkout is.

It is built from the source distribution, as `python -m build` does, so that this is complete too.
The built package runs in a virtual environment of its own, which borrows the dependencies of this
one; nothing is fetched.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from collections.abc import Callable, Sequence
from email import message_from_string
from pathlib import Path

import pytest

import fwlb

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.toml"))

Run = Callable[..., subprocess.CompletedProcess[str]]


def program(args: Sequence[str | Path], directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a program outside the checkout, without anything that points back to it."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [*map(str, args)],
        cwd=directory,
        env={**environment, "PYTHONNOUSERSITE": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the wheel and the source distribution."""
    directory = tmp_path_factory.mktemp("built")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir"]
    done = program([*build, directory, ROOT], directory)
    assert done.returncode == 0, done.stdout + done.stderr
    return directory


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """`installed("check", ...)` runs the wheel's own `fwlb`, outside the checkout."""
    directory = tmp_path_factory.mktemp("installed")
    venv.create(directory / "venv", symlinks=True)
    python = directory / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--quiet", "--python"]
    done = program([*pip, python, "install", "--no-index", "--no-deps", wheel], directory)
    assert done.returncode == 0, done.stdout + done.stderr
    (site,) = (directory / "venv").glob("lib/python3*/site-packages")
    # a path in a .pth file is searched, but the .pth files in it (of a checkout) are not read
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")

    def run(*args: str | Path) -> subprocess.CompletedProcess[str]:
        return program([python.parent / "fwlb", *args], directory)

    where = program([python, "-c", "import fwlb; print(fwlb.__file__)"], directory)
    assert where.stdout.strip() == str(site / "fwlb" / "__init__.py")
    return run


def test_the_wheel_holds_the_package_and_the_rules_and_nothing_else(wheel: Path) -> None:
    package = [path for path in (ROOT / "fwlb").rglob("*") if path.is_file()]
    expected = {
        str(path.relative_to(ROOT)) for path in package if "__pycache__" not in path.parts
    } | {f"fwlb/rules/{path.name}" for path in (ROOT / "rules").glob("*.nft")}
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.split("/")[0].endswith("-info")}
    assert names == expected
    assert names > {"fwlb/py.typed", "fwlb/config/example.toml", "fwlb/rules/40-filter.nft"}


def test_the_wheel_describes_itself(wheel: Path) -> None:
    information = f"fwlb-{fwlb.__version__}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        metadata = message_from_string(archive.read(f"{information}/METADATA").decode())
        commands = archive.read(f"{information}/entry_points.txt").decode()
        names = archive.namelist()
    assert metadata["Version"] == fwlb.__version__
    assert metadata["Requires-Python"] == ">=3.11"
    assert str(metadata.get_payload()).startswith("# fwlb\n")
    assert "fwlb = fwlb.cli:main" in commands
    assert f"{information}/licenses/LICENSE" in names


def test_the_source_distribution_is_a_checkout(built: Path) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as source:
        names = {name.partition("/")[2] for name in source.getnames()}
    here = Path(__file__).relative_to(ROOT)
    assert names > {"Makefile", "packaging/setup", "constraints.txt", ".ci/run", str(here)}


def test_the_installed_program_knows_its_version(installed: Run) -> None:
    done = installed("--version")
    assert (done.returncode, done.stdout) == (0, f"fwlb {fwlb.__version__}\n")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_installed_program_checks_and_renders(installed: Run, example: Path) -> None:
    done = installed("check", "-c", example)
    assert done.returncode == 0, done.stderr
    rendered = installed("render", "-c", example)
    assert rendered.returncode == 0, rendered.stderr
    of_the_checkout = program([sys.executable, "-m", "fwlb", "render", "-c", example], ROOT)
    assert rendered.stdout == of_the_checkout.stdout
    assert "table inet fwlb {" in rendered.stdout


def test_the_installed_program_writes_a_configuration_without_mistakes(
    installed: Run, tmp_path: Path
) -> None:
    file = tmp_path / "fwlb.toml"
    file.write_text(installed("init", "-").stdout)
    done = installed("check", "-c", file)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{file}: no mistakes")
