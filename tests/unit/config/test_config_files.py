"""What is told about a file that cannot be read, or that is no TOML."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fwlb.config.load import MAX_FILE_BYTES, check, load, parse
from fwlb.errors import ConfigError, Problem

MINIMAL = '[node]\nname = "gw1"\n[zones.inside]\ninterfaces = ["lan0"]\n'


def problem_of(path: Path) -> Problem:
    config, problems = check(path)
    assert config is None
    (problem,) = problems
    assert problem.where.file == str(path)
    return problem


def test_a_good_file_is_loaded_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "fwlb.toml"
    path.write_text(MINIMAL)
    config, problems = check(path)
    assert problems == []
    assert config == load(path)
    assert config.zones["inside"].interfaces == ("lan0",)


def test_a_missing_file_points_at_init(tmp_path: Path) -> None:
    problem = problem_of(tmp_path / "none.toml")
    assert problem.message == "there is no such file"
    assert "fwlb init" in (problem.hint or "")
    assert problem.where.line is None


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    assert problem_of(tmp_path).message == "this is a directory"


def test_a_path_through_a_file_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert problem_of(tmp_path / "file" / "x").message == (
        "this file cannot be read: Not a directory"
    )


@contextmanager
def nobody() -> Iterator[None]:
    """Root may read everything: be somebody else for a while."""
    me = os.geteuid()
    if me == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(me)


def test_an_unreadable_file_is_told_in_words(tmp_path: Path) -> None:
    path = tmp_path / "fwlb.toml"
    path.write_text(MINIMAL)
    path.chmod(0)
    with nobody():
        problem = problem_of(path)
    assert problem.message == "you may not read this file"
    assert "run as root" in (problem.hint or "")


def test_a_file_that_is_too_large_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "fwlb.toml"
    path.write_text(MINIMAL + "#" * (MAX_FILE_BYTES - len(MINIMAL)))
    assert load(path).node.name == "gw1"
    path.write_text(path.read_text() + "#")
    assert problem_of(path).message == "this file is larger than 1048576 bytes"
    assert problem_of(Path("/dev/zero")).message == "this file is larger than 1048576 bytes"


def test_a_file_that_is_not_utf8_is_told_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "fwlb.toml"
    path.write_bytes(MINIMAL.encode() + "# geändert\n".encode("latin-1"))
    problem = problem_of(path)
    assert (problem.where.line, problem.message) == (5, "this is no UTF-8: byte 0xe4")


def test_a_byte_order_mark_and_windows_line_ends_are_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "fwlb.toml"
    path.write_bytes(b"\xef\xbb\xbf" + MINIMAL.replace("\n", "\r\n").encode())
    assert load(path).node.name == "gw1"


@pytest.mark.parametrize(
    ("text", "line", "message", "hint"),
    [
        ("\nname = gw1", 2, "not valid TOML: Invalid value, column 8", 'key = "value"'),
        ("name 'gw1'", 1, "Expected '=' after a key", "write `key = value`"),
        ("[node]\n[node]", 2, "Cannot declare [node] twice", "put its keys together"),
        ("[a]\n[a.'b c']\n[a.'b c']", 3, 'Cannot declare [a."b c"] twice', "put its keys together"),
        ("a = 1\na = 2", 2, "Cannot overwrite a value", "keep one"),
        ('a = "x\n', 1, "Illegal character '\\n'", "close the quotes"),
        ("a = '''\n\n", 1, "at the end of the file", "close the quotes"),
        ("a = [1\nb = 2", 2, "Unclosed array", "close the list with `]`"),
        ("a = [1,\n", 1, "Invalid value, at the end of the file", ""),
        ("a = {b = 1", 1, "Unclosed inline table", "close the table with `}`"),
        ("a = 1 2", 1, "Expected newline or end of document", "one `key = value` a line"),
        ('a = "C:\\x"', 1, "Unescaped '\\' in a string", "write `\\\\` for a backslash"),
        ("größe = 1", 1, "", "`key = value`"),
        ("[]", 1, "Invalid initial character for a key part", ""),
        ("x = 1\ny = " + "9" * 5000, 2, "this number is too long", "at most 18 digits"),
        ("x = " + "[" * 100_000, None, "this is nested too deeply", ""),
    ],
)
def test_what_is_no_toml_is_told_with_the_line(
    text: str, line: int | None, message: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "fwlb.toml")
    (problem,) = caught.value.problems
    assert problem.where.line == line
    assert message in problem.message
    assert hint in (problem.hint or "")


def test_importing_the_package_and_its_light_modules_does_not_import_pydantic() -> None:
    program = (
        "import sys, fwlb.config, fwlb.config.example, fwlb.config.lookup, fwlb.config.services\n"
        "sys.exit('pydantic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
