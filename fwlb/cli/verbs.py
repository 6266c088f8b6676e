"""Bodies of the verbs: call the library, print the answer. No decisions."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fwlb.cli.app import say
from fwlb.errors import ConfigError, HostError, Where

if TYPE_CHECKING:
    from fwlb.config.models import Config
    from fwlb.operate import Applied


def init(file: Path, *, force: bool) -> None:
    from fwlb.config import example

    if str(file) == "-":
        typer.echo(example.text(), nl=False)
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("w" if force else "x", encoding="utf-8") as target:
            target.write(example.text())
    except OSError as error:
        where = Where(str(file))
        if isinstance(error, FileExistsError) and file.exists():
            hint = "use --force to replace it"
            raise HostError("the file is there already", where=where, hint=hint) from None
        reason = f"{error.strerror} ({error.filename})"
        raise HostError(f"cannot write: {reason}", where=where) from error
    typer.echo(f"wrote {file}; set the interfaces and networks of your zones, then: fwlb check")


def check(file: Path, *, as_json: bool) -> int:
    from fwlb.config.load import check as check_file

    config, problems = check_file(file)
    if problems:
        raise ConfigError(problems)
    zones = ", ".join(config.zones) if config else ""
    say({"ok": True, "problems": []}, as_json=as_json, text=f"{file}: no mistakes (zones {zones})")
    return 0


def render(file: Path) -> None:
    from fwlb.ruleset.source import source

    typer.echo(source(_load(file)).text, nl=False)


def diff(file: Path, *, as_json: bool) -> int:
    from fwlb import operate
    from fwlb.cli.show import patch_text

    plan = operate.prepare(_load(file)).plan
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    say(plan.as_json(), as_json=as_json, text=patch_text(plan, file, colour=colour))
    return 0 if plan.is_empty else 1


def up(file: Path, *, daemon: bool, confirm_s: int | None, as_json: bool) -> int:
    from fwlb.daemon import main

    config = _load(file)
    if daemon:
        main.require_startable(config)
    answer = _apply(config, file, confirm_s)
    say(answer.as_json(), as_json=as_json, text=answer.as_text())
    if daemon:
        return main.run(config, file=file, reload=lambda: _reload(file))
    main.reload_running(config)
    return 0


def _apply(config: Config, file: Path, confirm_s: int | None = None) -> Applied:
    from fwlb import operate
    from fwlb.daemon import watchdog

    confirmation = None
    if confirm_s is not None:
        confirmation = operate.Confirm(
            confirm_s, lambda state: watchdog.start(state, config.paths.runtime)
        )
    return operate.apply(
        config,
        file=file,
        now_s=watchdog.boottime_s(),
        boot_id=watchdog.boot_id(),
        confirm=confirmation,
    )


def _reload(file: Path) -> Config:
    config = _load(file)
    _apply(config, file)
    return config


def confirm(file: Path, *, as_json: bool) -> None:
    from fwlb import operate

    operate.confirm(_load(file).paths.state)
    say({"confirmed": True}, as_json=as_json, text="confirmed: the change stays")


def down(file: Path, *, as_json: bool) -> None:
    from fwlb import operate
    from fwlb.daemon import main

    config = _load(file)
    removed = [*main.stop_running(config), *operate.take_down(config)]
    text = "\n".join(["removed:", *(f"  {line}" for line in removed)])
    say({"removed": removed}, as_json=as_json, text=text if removed else "nothing to remove")


def status(file: Path, *, as_json: bool) -> None:
    from fwlb.cli.show import status_text
    from fwlb.daemon.control import call

    answer = call(_load(file).paths.runtime / "control.sock", "status")
    say(answer, as_json=as_json, text=status_text(answer))


def sessions(file: Path, *, as_json: bool) -> None:
    from fwlb.cli.show import sessions_text
    from fwlb.daemon.control import call

    answer = call(_load(file).paths.runtime / "control.sock", "sessions")
    say(answer, as_json=as_json, text=sessions_text(answer))


def demo(json_file: Path | None) -> int:
    from rich.console import Console

    from fwlb.lab.demo import run_demo

    return run_demo(Console(soft_wrap=not sys.stdout.isatty()), json_path=json_file)


def _load(file: Path) -> Config:
    from fwlb.config.load import load

    return load(file)
