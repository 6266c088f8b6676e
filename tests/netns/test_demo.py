"""`fwlb demo`: the whole demonstration, with fwlb itself and with stand-ins for it."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from fwlb.errors import LabError
from fwlb.lab import demo
from fwlb.lab.cases import CASES
from fwlb.lab.owners import records

pytestmark = pytest.mark.netns

STAND_IN = '''
"""Behaves like fwlb on the command line; its helper is the kernel's."""
import json, pathlib, signal, socket, subprocess, sys, time, tomllib

OPEN, FORGETFUL, SULKING = {opened!r}, {forgetful!r}, {sulking!r}
HELPER = """
    ct helper ftp {{ type "ftp" protocol tcp; }}
    chain prerouting {{
        type filter hook prerouting priority filter; policy accept;
        tcp dport 21 ct helper set "ftp"
    }}
"""
RULES = """
table inet fwlb {{
    %s
    chain forward {{
        type filter hook forward priority filter; policy %s;
        ct state established,related accept
        iifname "lan0" tcp dport 21 accept
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr 10.1.0.0/24 oifname "wan0" masquerade
    }}
}}
"""
verb, config = sys.argv[1], tomllib.loads(pathlib.Path(sys.argv[-1]).read_text())
helper = config["helpers"]["ftp"]["enabled"]


def nft(text):
    subprocess.run(["nft", "-f", "-"], input=text, text=True, check=True)


if verb == "up":
    flush = "table inet fwlb\\ndelete table inet fwlb\\n"
    nft(flush + RULES % (HELPER if helper else "", "accept" if OPEN else "drop"))
if verb == "up" and "--no-daemon" not in sys.argv:
    run = pathlib.Path(config["paths"]["runtime"])
    run.mkdir()
    control = socket.socket(socket.AF_UNIX)
    control.bind(str(run / "control.sock"))
    control.listen()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(5 if SULKING else 0))
    print("applied", flush=True)
    while True:
        print(json.dumps({{"event": "session-closed", "session": "s-1", "why": "bye"}}), flush=True)
        time.sleep(0.1)
if verb == "status":
    print("8 sessions closed")
if verb == "down" and not FORGETFUL:
    nft("delete table inet fwlb\\n")
'''


@pytest.fixture
def stand_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, require_program: Callable[[str], str]
) -> Callable[..., None]:
    """`stand_in(opened=True)`: the demonstration runs a program like fwlb that lets all pass."""
    require_program("nft")

    def install(*, opened: bool = False, forgetful: bool = False, sulking: bool = False) -> None:
        script = tmp_path / "stand_in.py"
        script.write_text(STAND_IN.format(opened=opened, forgetful=forgetful, sulking=sulking))

        def command(*args: str | Path) -> tuple[list[str], dict[str, str]]:
            return [sys.executable, str(script), *map(str, args)], {}

        monkeypatch.setattr(demo, "fwlb_command", command)

    return install


def run(tmp_path: Path) -> tuple[int, str, dict[str, object]]:
    """The demonstration's exit status, what it printed, and its JSON."""
    printed = io.StringIO()
    file = tmp_path / "demo.json"
    status = demo.run_demo(Console(file=printed, width=100), json_path=file)
    return status, printed.getvalue(), json.loads(file.read_text())


def test_demo_with_fwlb(tmp_path: Path, require_program: Callable[[str], str]) -> None:
    for program in ("nft", "curl", "vsftpd"):
        require_program(program)
    status, printed, answer = run(tmp_path)
    assert status == 0, printed
    assert answer["ok"] is True
    assert answer["left_behind"] == []
    assert printed.count("session-opened") == printed.count("session-closed") == len(CASES)
    assert printed.count("pinhole-opened") >= len(CASES)
    assert "\x1b" not in printed  # fit for a log


def test_a_stand_in_that_works_passes(tmp_path: Path, stand_in: Callable[..., None]) -> None:
    stand_in()
    status, printed, answer = run(tmp_path)
    assert status == 0, printed
    assert answer["ok"] is True
    assert float(str(answer["elapsed_s"])) < 30
    for case in CASES:
        assert f"{case.name:20} failed after" in printed
        assert f"{case.name:20} {demo.SIZE_BYTES:,} bytes in" in printed
    assert "session-closed    why=bye" in printed
    assert "8 sessions closed" in printed
    assert "fwlb left nothing behind" in printed


def test_an_open_firewall_is_no_success(tmp_path: Path, stand_in: Callable[..., None]) -> None:
    stand_in(opened=True)
    status, printed, answer = run(tmp_path)
    assert status == 1
    assert answer["ok"] is False
    assert "WORKS" in printed
    assert "this is NOT how it should go" in printed


def test_leaving_something_behind_is_no_success(
    tmp_path: Path, stand_in: Callable[..., None]
) -> None:
    stand_in(forgetful=True)
    status, printed, answer = run(tmp_path)
    assert (status, answer["left_behind"]) == (1, ["nftables"])
    assert "fwlb LEFT BEHIND: nftables" in printed


def test_a_daemon_that_ends_badly_is_an_error(
    tmp_path: Path, stand_in: Callable[..., None]
) -> None:
    stand_in(sulking=True)
    with pytest.raises(LabError, match="the daemon ended with status 5"):
        run(tmp_path)
    assert [record for record in records() if record.pid == os.getpid()] == []
