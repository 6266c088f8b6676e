"""The command line as an operator meets it: help, wrong use, mistakes, no daemon, no privilege.

Exit statuses are part of the interface (see `fwlb.errors`), and nothing ever ends in a traceback.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

import fwlb
from fwlb.cli.app import app

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "minimal.toml"
VERBS = sorted(typer.main.get_group(app).commands)
ON_A_CONFIGURATION = sorted(set(VERBS) - {"init", "demo"})

MISTAKES = """\
[node]
name = "gw1"
colour = "red"

[zones.inside]
interfaces = ["lan0"]
networks = ["10.1.0.1/16"]

[[allow]]
from = "inside"
to = "mars"
"""


def fwlb_(*args: str | Path) -> Result:
    """Run a verb in this process."""
    result = CliRunner().invoke(app, [*map(str, args)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration without mistakes; its run-time and state directories are not there."""
    paths = f'\n[paths]\nruntime = "{tmp_path}/run"\nstate = "{tmp_path}/state"\n'
    file = tmp_path / "fwlb.toml"
    file.write_text(EXAMPLE.read_text() + paths)
    return file


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    """A configuration with three mistakes."""
    file = tmp_path / "wrong.toml"
    file.write_text(MISTAKES)
    return file


# --- help and wrong use ---------------------------------------------------------------------------


def test_without_a_verb_it_explains_itself() -> None:
    result = fwlb_()
    assert result.exit_code == 2
    assert result.output == fwlb_("--help").output
    for verb in VERBS:
        assert f"\n  {verb} " in result.output


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_every_verb_has_help_for_a_terminal(verb: str, option: str) -> None:
    result = fwlb_(verb, option)
    assert result.exit_code == 0
    assert f"Usage: fwlb {verb}" in result.output
    assert max(map(len, result.output.splitlines())) <= 80


def test_the_list_of_verbs_cuts_no_sentence() -> None:
    (verbs,) = fwlb_("--help").output.split("Commands:\n")[1:]
    assert len(verbs.splitlines()) == len(VERBS)
    assert "..." not in verbs


def test_version() -> None:
    result = fwlb_("--version")
    assert (result.exit_code, result.output) == (0, f"fwlb {fwlb.__version__}\n")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["frobnicate"], "No such command 'frobnicate'"),
        (["--frobnicate"], "No such option: --frobnicate"),
        *[([verb, "--frobnicate"], "No such option: --frobnicate") for verb in VERBS],
        (["status", "more"], "Got unexpected extra argument(s) (more)"),
        (["check", "-c"], "Option '-c' requires an argument"),
        (["up", "--confirm", "soon"], "Invalid value for '--confirm'"),
        (["up", "--confirm", "0"], "Invalid value for '--confirm'"),
        (["up", "--confirm", "86401"], "Invalid value for '--confirm'"),
    ],
)
def test_wrong_use_says_what_is_wrong(args: list[str], message: str) -> None:
    result = fwlb_(*args)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""


def test_wrong_use_of_a_verb_names_its_help() -> None:
    assert "Try 'fwlb status -h' for help.\n" in fwlb_("status", "--frobnicate").stderr


# --- the configuration ----------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ON_A_CONFIGURATION)
def test_a_missing_file_is_named(verb: str, tmp_path: Path) -> None:
    file = tmp_path / "none.toml"
    result = fwlb_(verb, "-c", file)
    assert result.exit_code == (2 if verb == "diff" else 3)
    assert result.stderr.startswith(f"fwlb: {file}: there is no such file\n")
    assert "fwlb init" in result.stderr
    assert result.stdout == ""


def test_check_without_mistakes(config: Path) -> None:
    result = fwlb_("check", "-c", config)
    assert result.exit_code == 0
    assert result.stdout == f"{config}: no mistakes (zones inside, outside)\n"
    answer = fwlb_("check", "-c", config, "--json")
    assert json.loads(answer.stdout) == {"ok": True, "problems": []}


def test_check_names_every_mistake_with_its_line(wrong: Path) -> None:
    result = fwlb_("check", "-c", wrong)
    assert result.exit_code == 3
    for place in ("3: node.colour: ", "7: zones.inside.networks[0]: ", "11: allow[0].to: "):
        assert f"{wrong}:{place}" in result.stderr
    assert result.stderr.endswith("\n3 mistakes in the configuration\n")


def test_check_gives_programs_the_same(wrong: Path) -> None:
    result = fwlb_("check", "-c", wrong, "--json")
    assert (result.exit_code, result.stderr) == (3, "")
    answer = json.loads(result.stdout)
    assert (answer["error"], answer["exit_status"]) == ("config", 3)
    assert [(each["line"], each["key"]) for each in answer["problems"]] == [
        (3, "node.colour"),
        (7, "zones.inside.networks[0]"),
        (11, "allow[0].to"),
    ]
    assert {each["file"] for each in answer["problems"]} == {str(wrong)}


@pytest.mark.parametrize("verb", ON_A_CONFIGURATION)
def test_no_verb_works_on_mistakes(verb: str, wrong: Path) -> None:
    result = fwlb_(verb, "-c", wrong)
    assert result.exit_code == (2 if verb == "diff" else 3)
    assert "3 mistakes in the configuration" in result.stderr


def test_render_is_the_ruleset(config: Path) -> None:
    result = fwlb_("render", "-c", config)
    assert result.exit_code == 0
    assert "table inet fwlb {" in result.stdout
    assert "add element inet fwlb relay_ports {" in result.stdout


# --- init -----------------------------------------------------------------------------------------


def test_init_prints_a_configuration_that_check_accepts(tmp_path: Path) -> None:
    file = tmp_path / "printed.toml"
    file.write_text(fwlb_("init", "-").stdout)
    assert fwlb_("check", "-c", file).exit_code == 0


def test_init_writes_the_same_and_makes_the_directory(tmp_path: Path) -> None:
    file = tmp_path / "etc" / "fwlb" / "fwlb.toml"
    result = fwlb_("init", file)
    assert result.exit_code == 0
    assert result.stdout.startswith(f"wrote {file}; ")
    assert file.read_text() == fwlb_("init", "-").stdout


def test_init_replaces_a_file_only_with_force(tmp_path: Path) -> None:
    file = tmp_path / "fwlb.toml"
    file.write_text("precious")
    result = fwlb_("init", file)
    assert result.exit_code == 4
    message = "the file is there already\n    use --force to replace it"
    assert result.stderr == f"fwlb: {file}: {message}\n"
    assert file.read_text() == "precious"
    assert fwlb_("init", "--force", file).exit_code == 0
    assert file.read_text() == fwlb_("init", "-").stdout


def test_init_says_why_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = fwlb_("init", tmp_path / "file" / "fwlb.toml")
    assert result.exit_code == 4
    reason = f"cannot write: File exists ({tmp_path}/file)"
    assert result.stderr == f"fwlb: {tmp_path}/file/fwlb.toml: {reason}\n"


# --- without a daemon, without privilege ----------------------------------------------------------


@pytest.mark.parametrize("verb", ["status", "sessions"])
def test_without_a_daemon(verb: str, config: Path) -> None:
    result = fwlb_(verb, "-c", config)
    assert result.exit_code == 7
    socket = config.parent / "run" / "control.sock"
    assert result.stderr.startswith(f"fwlb: no fwlb daemon answers on {socket}\n")
    assert "fwlb up" in result.stderr
    answer = fwlb_(verb, "-c", config, "--json")
    assert (answer.exit_code, answer.stderr) == (7, "")
    error = json.loads(answer.stdout)
    assert (error["error"], error["exit_status"]) == ("not-running", 7)


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def unprivileged(config: Path) -> Run:
    """Run a verb in a process that may not touch the network, also when the tests run as root."""
    drop = ["setpriv", "--bounding-set=-net_admin,-sys_admin"] if os.geteuid() == 0 else []

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*drop, sys.executable, "-m", "fwlb", *args, "-c", str(config)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("up", 4),
        ("up --no-daemon", 4),
        ("up --no-daemon --confirm 60", 4),
        ("up --dry-run", 2),
        ("diff", 2),
        ("confirm", 4),
        ("down", 4),
    ],
)
def test_without_privilege_it_says_so_and_does_nothing(
    command: str, status: int, unprivileged: Run, config: Path
) -> None:
    done = unprivileged(*command.split())
    assert done.returncode == status
    assert "CAP_NET_ADMIN" in done.stderr
    assert "as root" in done.stderr
    assert not (config.parent / "state").exists()


def test_an_error_as_json_has_the_status_of_the_process(unprivileged: Run) -> None:
    for verb, status in (("diff", 2), ("down", 4)):
        done = unprivileged(verb, "--json")
        assert done.returncode == status
        answer = json.loads(done.stdout)
        assert (answer["error"], answer["exit_status"]) == ("privilege", status)


# --- the process ----------------------------------------------------------------------------------


def test_a_reader_that_leaves_is_no_error_message(config: Path) -> None:
    """As in `fwlb render | head`: the status is that of a program which SIGPIPE ended."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "fwlb", "render", "-c", str(config)]
    done = subprocess.run(
        command, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_help_and_version_load_neither_the_models_nor_the_daemon() -> None:
    """They answer at once: what a verb needs is loaded when it runs."""
    code = """
import sys
from fwlb.cli import main
try:
    main()
finally:
    print(*sys.modules, file=sys.stderr)
"""
    for option in ("--help", "--version"):
        done = subprocess.run(
            [sys.executable, "-c", code, option],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        loaded = set(done.stderr.split())
        assert "fwlb.cli.app" in loaded
        assert loaded.isdisjoint({"fwlb.config.models", "fwlb.daemon", "fwlb.kernel", "asyncio"})
