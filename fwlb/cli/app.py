"""The verbs. Each loads what it needs when it runs, so that `fwlb --help` is quick.

Exit status: 0 done, 1 `diff` found a difference, 2 wrong use (or trouble, for `diff`), else the
status of the error's class (see `fwlb.errors`).
"""

from __future__ import annotations

import functools
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn, ParamSpec

import typer

import fwlb
from fwlb.errors import FwlbError

P = ParamSpec("P")

DEFAULT_CONFIG = Path("/etc/fwlb/fwlb.toml")

app = typer.Typer(
    name="fwlb",
    help="Session-aware firewall, NAT and load-balancing helper for nftables gateways.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ConfigFile = Annotated[Path, typer.Option("-c", "--config", help="Configuration file.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def run() -> None:
    """Run the command line and exit."""
    app()


def verb(function: Callable[P, int | None]) -> Callable[P, None]:
    """A verb: its errors become a message and an exit status, its result the exit status."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            status = function(*args, **kwargs)
        except FwlbError as error:
            compares = function.__name__ == "diff" or bool(kwargs.get("dry_run"))
            fail(error, as_json=bool(kwargs.get("json_")), trouble=compares)
        except BrokenPipeError:  # `fwlb render | head`: not 1, which means something in `diff`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            status = 128 + signal.SIGPIPE
        raise typer.Exit(status or 0)

    return wrapped


def fail(error: FwlbError, *, as_json: bool, trouble: bool) -> NoReturn:
    status = 2 if trouble else error.exit_status
    if as_json:
        typer.echo(json.dumps({**error.as_json(), "exit_status": status}, indent=2))
    else:
        typer.echo(f"fwlb: {error}", err=True)
    raise typer.Exit(status)


def say(value: Any, *, as_json: bool, text: str) -> None:
    typer.echo(json.dumps(value, indent=2) if as_json else text)


def version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fwlb {fwlb.__version__}")
        raise typer.Exit


@app.callback()
def fwlb_(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Session-aware firewall, NAT and load-balancing helper for nftables gateways."""


@app.command()
@verb
def init(
    file: Annotated[Path, typer.Argument(help="Where to write; - prints it.")] = DEFAULT_CONFIG,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a commented example configuration."""
    from fwlb.cli import verbs

    verbs.init(file, force=force)


@app.command()
@verb
def check(config: ConfigFile = DEFAULT_CONFIG, json_: Json = False) -> int:
    """Report every mistake in the configuration, with its line."""
    from fwlb.cli import verbs

    return verbs.check(config, as_json=json_)


@app.command()
@verb
def render(config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Print the whole ruleset as `nft -f` would take it."""
    from fwlb.cli import verbs

    verbs.render(config)


@app.command()
@verb
def diff(config: ConfigFile = DEFAULT_CONFIG, json_: Json = False) -> int:
    """Show what `up` would change in the kernel.

    Exit status: 0 nothing, 1 something, 2 trouble.
    """
    from fwlb.cli import verbs

    return verbs.diff(config, as_json=json_)


@app.command()
@verb
def up(
    config: ConfigFile = DEFAULT_CONFIG,
    daemon: Annotated[
        bool, typer.Option("--daemon/--no-daemon", help="Run the daemon in the foreground.")
    ] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="The same as `fwlb diff`.")] = False,
    confirm_s: Annotated[
        int | None,
        typer.Option(
            "--confirm",
            min=1,
            max=86400,
            metavar="SECONDS",
            help="Go back to what was before unless `fwlb confirm` comes in time.",
        ),
    ] = None,
    json_: Json = False,
) -> int:
    """Apply what `diff` shows, verify it, run the daemon.

    The change is one transaction. With a daemon running already use --no-daemon: it takes the
    new configuration over.
    """
    from fwlb.cli import verbs

    if dry_run:
        return verbs.diff(config, as_json=json_)
    return verbs.up(config, daemon=daemon, confirm_s=confirm_s, as_json=json_)


@app.command()
@verb
def confirm(config: ConfigFile = DEFAULT_CONFIG, json_: Json = False) -> None:
    """Keep what `up --confirm` applied."""
    from fwlb.cli import verbs

    verbs.confirm(config, as_json=json_)


@app.command()
@verb
def down(config: ConfigFile = DEFAULT_CONFIG, json_: Json = False) -> None:
    """Stop the daemon and remove everything that `up` made."""
    from fwlb.cli import verbs

    verbs.down(config, as_json=json_)


@app.command()
@verb
def status(config: ConfigFile = DEFAULT_CONFIG, json_: Json = False) -> None:
    """Show the running daemon: sessions, pinholes, refusals."""
    from fwlb.cli import verbs

    verbs.status(config, as_json=json_)


@app.command()
@verb
def sessions(config: ConfigFile = DEFAULT_CONFIG, json_: Json = False) -> None:
    """List the running sessions with their channels."""
    from fwlb.cli import verbs

    verbs.sessions(config, as_json=json_)


@app.command()
@verb
def demo(
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the results as JSON.")
    ] = None,
) -> int:
    """Show real transfers through a lab gateway. Needs root."""
    from fwlb.cli import verbs

    return verbs.demo(json_file)
