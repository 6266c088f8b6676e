"""A network namespace of a test's own, with nft, and somebody who writes into it all the time."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

import pytest

from fwlb.kernel import nft
from fwlb.lab import namespaces

P = ParamSpec("P")
T = TypeVar("T")

RULES = Path(__file__).resolve().parents[3] / "rules"
DEFINES = """\
define MARK_RELAY_IN = 0x01000000
define MARK_RELAY_OUT = 0x02000000
define MARK_RELAYED = 0x01000000
define MARK_PINHOLE = 0x02000000
define RELAY_PORT = 2121
define FORWARD_POLICY = "drop"
define INPUT_POLICY = "accept"
"""

WRITER = """
import sys, time
from fwlb.kernel.elements import ElementWriter
from fwlb.model import Change, ChangeKind, Element
rate, ports = int(sys.argv[1]), 200
with ElementWriter() as writer:
    done, start = 0, time.perf_counter()
    print("writing", flush=True)
    while True:
        while done < (time.perf_counter() - start) * rate:
            element = Element("relay_alive", (1000 + done % ports,), None, 5.0)
            writer.apply([Change(ChangeKind.ADD, element)])
            done += 1
        print(done, flush=True) if done % rate < 50 else None
        time.sleep(0.0002)
"""

_numbers = itertools.count()


class Namespace:
    """A named network namespace; `call` works in it, `nft` and `run` start programs in it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return namespaces.call_in(self.name, lambda: function(*args, **kwargs))

    def prefix(self) -> list[str]:
        return ["nsenter", f"--net={namespaces.path_of(self.name)}", "--"]

    def run(self, *command: str, text: str | None = None) -> str:
        done = subprocess.run(  # what it prints says why it failed
            [*self.prefix(), *command], input=text, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def nft(self, text: str) -> None:
        self.run("nft", "-f", "-", text=text)

    def load_rules(self) -> None:
        self.call(nft.run, rules())

    @contextmanager
    def busy_writer(self, commits_per_s: int) -> Iterator[None]:
        """Somebody who commits elements all the time, in a process of its own."""
        command = [*self.prefix(), sys.executable, "-c", WRITER, str(commits_per_s)]
        environment = {**os.environ, "PYTHONPATH": str(RULES.parent)}
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as writer:
            try:
                assert writer.stdout is not None
                assert writer.stdout.readline() == b"writing\n"
                yield
                assert writer.poll() is None
            finally:
                writer.kill()


def rules() -> str:
    """fwlb's own rules without any configuration."""
    return DEFINES + "".join(path.read_text() for path in sorted(RULES.glob("*.nft")))


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    name = f"fwlbB{os.getpid()}-{next(_numbers)}"
    namespaces.create(name)
    try:
        yield Namespace(name)
    finally:
        namespaces.remove(name)


@pytest.fixture
def with_rules(namespace: Namespace) -> Namespace:
    namespace.load_rules()
    return namespace


@pytest.fixture(name="rules")
def rules_text() -> str:
    return rules()
