"""Read `fwlb.toml`: a frozen `Config`, or every mistake in it at once, each with its line.

Order of things: read the file, parse TOML, fit it to the models, check the values against each
other. A later step runs as far as an earlier one left it something to work on.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from fwlb.config.checks import cross_check
from fwlb.config.draft import complete, salvage
from fwlb.config.locate import Lines, locate
from fwlb.config.messages import Finding, findings, key_text, syntax_finding
from fwlb.config.models import Config
from fwlb.errors import ConfigError, Problem, Where

MAX_FILE_BYTES = 1024 * 1024


def load(path: Path) -> Config:
    """Read and check a configuration file.

    Raises `ConfigError` with a `Problem` for each mistake, in the order of lines.
    """
    return parse(_text(path), str(path))


def check(path: Path) -> tuple[Config | None, list[Problem]]:
    """The same without raising: the configuration, or None and what is wrong with it."""
    try:
        return load(path), []
    except ConfigError as error:
        return None, error.problems


def parse(text: str, file: str) -> Config:
    """Read and check the text of a configuration; `file` is only named in problems.

    Raises `ConfigError` with a `Problem` for each mistake, in the order of lines.
    """
    try:
        data = tomllib.loads(text)
        lines = locate(text)
    except RecursionError:
        raise _single(file, None, "this is nested too deeply", None) from None
    except ValueError as error:
        line, message, hint = syntax_finding(error, text)
        raise _single(file, line, message, hint) from None
    try:
        config = Config.model_validate(data)
    except ValidationError as error:
        found = [*findings(error), *cross_check(salvage(data))]
        raise ConfigError(_problems(found, file, lines)) from None
    if found := list(cross_check(complete(config))):
        raise ConfigError(_problems(found, file, lines))
    return config


def _problems(found: Iterable[Finding], file: str, lines: Lines) -> list[Problem]:
    problems = [
        Problem(Where(file, lines.line(each.path), key_text(each.path)), each.message, each.hint)
        for each in found
    ]
    return sorted(problems, key=lambda problem: problem.where.line or 0)


def _single(file: str, line: int | None, message: str, hint: str | None) -> ConfigError:
    return ConfigError([Problem(Where(file, line), message, hint)])


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        hint = "`fwlb init` writes a commented example; `-c FILE` names another file"
        raise _single(str(path), None, "there is no such file", hint) from None
    except IsADirectoryError:
        raise _single(str(path), None, "this is a directory", "name the file in it") from None
    except PermissionError:
        hint = "run as root, or let this user read it"
        raise _single(str(path), None, "you may not read this file", hint) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise _single(str(path), None, f"this file cannot be read: {reason}", None) from None
    if len(content) > MAX_FILE_BYTES:
        message = f"this file is larger than {MAX_FILE_BYTES} bytes"
        raise _single(str(path), None, message, "is it the right file?")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        message = f"this is no UTF-8: byte 0x{content[error.start]:02x}"
        hint = "save the file as UTF-8; keys and values need no more than ASCII"
        raise _single(str(path), line, message, hint) from None
