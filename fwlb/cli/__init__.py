"""The command line: typer verbs without logic. `main` is the console script."""

from __future__ import annotations


def main() -> None:
    """Run the command line; every `FwlbError` becomes a message and an exit status."""
    from fwlb.cli.app import run

    run()
