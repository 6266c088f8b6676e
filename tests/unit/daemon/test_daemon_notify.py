"""sd_notify: datagrams to the service manager, by path and by abstract name."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from fwlb.daemon.notify import Notifier

PID = 4711


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """The manager's socket and what it puts into NOTIFY_SOCKET."""
    name = str(tmp_path / "notify")
    address = name if request.param == "path" else f"@fwlb-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(address.replace("@", "\0", 1) if address[0] == "@" else address)
        receiver.settimeout(5)
        yield receiver, address


def test_every_state_is_told(manager: tuple[socket.socket, str]) -> None:
    receiver, address = manager
    notifier = Notifier(address)
    notifier.reloading(12.5)
    notifier.ready()
    notifier.status("3 control\nconnections")
    notifier.watchdog()
    notifier.stopping(35)
    notifier.close()
    assert [receiver.recv(256).decode() for _ in range(5)] == [
        "RELOADING=1\nMONOTONIC_USEC=12500000",
        "READY=1",
        "STATUS=3 control connections",
        "WATCHDOG=1",
        "STOPPING=1\nEXTEND_TIMEOUT_USEC=35000000",
    ]


def test_children_do_not_inherit_the_right_to_speak() -> None:
    environment = {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "5000000", "HOME": "/root"}
    notifier = Notifier.from_environment(environment, PID)
    assert environment == {"HOME": "/root"}
    assert notifier.watchdog_s == 5.0
    notifier.close()


@pytest.mark.parametrize(
    ("environment", "watchdog_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "2000000"}, 2.0),
        ({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": str(PID)}, 2.0),
        ({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_watchdog_variables(environment: dict[str, str], watchdog_s: float | None) -> None:
    notifier = Notifier.from_environment(environment, PID)
    assert notifier.watchdog_s == watchdog_s


@pytest.mark.parametrize("address", [None, "vsock:2:1", "/nowhere/notify"])
def test_without_a_manager_nothing_happens(address: str | None) -> None:
    environment = {"NOTIFY_SOCKET": address} if address else {}
    notifier = Notifier.from_environment(environment, PID)
    notifier.ready()
    notifier.watchdog()
    notifier.close()
    notifier.ready()


def test_a_manager_that_does_not_read_never_blocks_the_daemon(
    manager: tuple[socket.socket, str],
) -> None:
    notifier = Notifier(manager[1])
    for _ in range(10_000):
        notifier.watchdog()
    notifier.close()
