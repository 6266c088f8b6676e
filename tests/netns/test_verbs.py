"""`fwlb up`, `diff`, `down`, `confirm` against a real kernel, as an operator types them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from fwlb.lab import Lab
from tests.netns.gateway import Gateway

pytestmark = pytest.mark.netns

EXAMPLES = sorted((Path(__file__).parents[2] / "docs" / "examples").glob("*.toml"))


@pytest.fixture
def gateway(lab_for_verbs: Lab, tmp_path: Path) -> Iterator[Gateway]:
    gateway = Gateway(lab_for_verbs, tmp_path)
    before = gateway.footprint()
    yield gateway
    gateway.configure()
    gateway.fwlb("down")
    gateway.nft("flush", "ruleset")
    assert gateway.footprint() == before
    assert not gateway.state.exists()
    assert not gateway.socket.parent.exists()


@pytest.fixture(scope="module")
def lab_for_verbs(lab: object) -> Lab:
    return lab()  # type: ignore[operator,no-any-return]


def up(gateway: Gateway) -> None:
    gateway.fwlb("up", "--no-daemon")


# --- the round of up, diff and down ---------------------------------------------------------------


def test_diff_shows_all_before_and_nothing_after_up(gateway: Gateway) -> None:
    before = gateway.fwlb("diff", status=1).stdout
    assert "@@ table inet fwlb, chain forward @@ +" in before
    assert '+ element "lan0" . "wan0" . tcp . 21 : accept' in before
    assert "+ ip -4 rule: fwmark 0x1000000/0x1000000 iif lan0 lookup 7227" in before
    up(gateway)
    assert gateway.fwlb("diff").stdout == "no difference\n"
    assert gateway.diff() == {"same": True, "table": "inet fwlb", "changes": [], "host": []}


def test_up_and_down_can_be_repeated(gateway: Gateway) -> None:
    up(gateway)
    again = gateway.fwlb("up", "--no-daemon")
    assert again.stdout == "applied: nothing to change\n"
    assert "table inet fwlb" in gateway.fwlb("down").stdout
    assert gateway.fwlb("down").stdout == "nothing to remove\n"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_applies_without_a_difference(gateway: Gateway, example: Path) -> None:
    text = example.read_text()
    tail = f"""
[paths]
rules = "{gateway.directory}/rules.d"
state = "{gateway.state}"
runtime = "{gateway.directory}/run"
"""
    assert "[paths]" not in text
    gateway.configure(text + tail)
    zones = tomllib.loads(text)["zones"].values()
    missing = {name for zone in zones for name in zone["interfaces"]} - {"lan0", "wan0"}
    for name in missing:
        gateway.host.run(["ip", "link", "add", name, "type", "bridge"])
    try:
        up(gateway)
        assert gateway.diff()["same"]
        # what `render` prints is what nft takes, and it means the same
        rendered = gateway.directory / "rendered.nft"
        rendered.write_text(gateway.fwlb("render").stdout)
        gateway.nft("delete", "table", "inet", "fwlb")
        gateway.nft("-f", str(rendered))
        assert gateway.diff()["same"]
        gateway.fwlb("down")
    finally:
        for name in missing:
            gateway.host.run(["ip", "link", "del", name])


def test_dry_run_is_diff(gateway: Gateway) -> None:
    assert gateway.fwlb("up", "--dry-run", status=1).stdout == gateway.fwlb("diff", status=1).stdout
    assert "fwlb" not in gateway.nft("list", "ruleset")


def test_another_table_is_not_touched(gateway: Gateway) -> None:
    gateway.nft(
        "add table inet other; add chain inet other c { type filter hook forward priority 5; }"
    )
    gateway.nft(
        "add rule inet other c tcp flags & (fin|syn) == syn counter packets 7 bytes 9 accept"
    )
    before = gateway.nft("-a", "list", "table", "inet", "other")
    up(gateway)
    gateway.configure(helper=False)
    up(gateway)
    gateway.fwlb("down")
    assert gateway.nft("-a", "list", "table", "inet", "other") == before


# --- what somebody did by hand --------------------------------------------------------------------

FTP_ALLOWED = '"lan0" . "wan0" . tcp . 21'
DELETE_FTP = f"delete element inet fwlb forward_service {{ {FTP_ALLOWED} }}"
ADD_FTP_DROP = f"add element inet fwlb forward_service {{ {FTP_ALLOWED} : drop }}"
BY_HAND = {
    "rule added": (
        "insert rule inet fwlb forward tcp dport 2222 accept",
        "- tcp dport 2222 accept",
    ),
    "rules flushed": ("flush chain inet fwlb refuse", "+ reject with icmpx admin-prohibited"),
    "policy": (
        "chain inet fwlb forward { policy accept; }",
        "+ type filter hook forward priority filter; policy drop;",
    ),
    "element added": ("add element inet fwlb relay_ports { 2121 }", "- element 2121"),
    "element removed": ("delete element inet fwlb relay_ports { 21 }", "+ element 21"),
    "range added": (
        'add element inet fwlb zone_source4 { "lan0" . 10.9.0.0/16 }',
        '- element "lan0" . 10.9.0.0/16',
    ),
    "set added": (
        "add set inet fwlb mine { type ipv4_addr; elements = { 192.0.2.1 }; }",
        "@@ table inet fwlb, set mine @@ -",
    ),
    "chain added": (
        "add chain inet fwlb mine { type filter hook input priority 7; }",
        "@@ table inet fwlb, chain mine @@ -",
    ),
    "verdict changed": (
        f"{DELETE_FTP}; {ADD_FTP_DROP}",
        f"- element {FTP_ALLOWED} : drop",
    ),
}


@pytest.mark.parametrize("change", BY_HAND)
def test_a_change_by_hand_is_shown_and_mended(gateway: Gateway, change: str) -> None:
    command, line = BY_HAND[change]
    up(gateway)
    gateway.nft(command)
    shown = gateway.fwlb("diff", status=1).stdout
    assert line in shown.splitlines(), shown
    up(gateway)
    assert gateway.diff()["same"]


def test_reordered_rules_are_shown(gateway: Gateway) -> None:
    up(gateway)
    listing = gateway.nft("-a", "list", "chain", "inet", "fwlb", "refuse")
    handle = next(x.split("# handle ")[1] for x in listing.splitlines() if "tcp reset" in x)
    gateway.nft(
        f"delete rule inet fwlb refuse handle {handle}; "
        "add rule inet fwlb refuse meta l4proto tcp reject with tcp reset"
    )
    changes = gateway.diff()["changes"]
    assert [(c["kind"], c["name"], c["change"]) for c in changes] == [
        ("chain", "refuse", "changed")
    ]
    assert {line["op"] for line in changes[0]["lines"]} == {"+", "-", " "}


def test_run_time_elements_are_no_difference_and_survive_a_change(gateway: Gateway) -> None:
    up(gateway)
    gateway.nft(
        "add element inet fwlb pinhole4 { tcp . 10.1.0.2 . 203.0.113.10 . 4000 timeout 60s }"
    )
    assert gateway.diff()["same"]
    gateway.configure(more='\n[[allow]]\nfrom = "outside"\nto = "gateway"\nservices = ["tcp/22"]\n')
    gateway.fwlb("diff", status=1)
    up(gateway)
    assert "10.1.0.2" in gateway.nft("list", "set", "inet", "fwlb", "pinhole4")


def test_a_kernel_without_the_relays_routing_is_mended(gateway: Gateway) -> None:
    up(gateway)
    gateway.host.run(["ip", "rule", "del", "iif", "wan0", "lookup", "7227"])
    assert [line["text"] for line in gateway.diff()["host"]] == [
        "ip -4 rule: fwmark 0x1000000/0x1000000 iif wan0 lookup 7227"
    ]
    up(gateway)
    assert gateway.diff()["same"]


def test_sysctls_are_set_and_put_back(gateway: Gateway) -> None:
    name = "net.netfilter.nf_conntrack_tcp_be_liberal"
    before = gateway.host.sysctl(name)
    gateway.configure(more=f'\n[sysctl]\n"{name}" = 1\n')
    assert f"+ {name} = 1" in gateway.fwlb("diff", status=1).stdout
    up(gateway)
    assert gateway.host.sysctl(name) == "1"
    gateway.configure()  # no longer wanted
    up(gateway)
    assert gateway.host.sysctl(name) == before
    gateway.configure(more=f'\n[sysctl]\n"{name}" = 1\n')
    up(gateway)
    assert name in gateway.fwlb("down").stdout
    assert gateway.host.sysctl(name) == before


# --- the operator's own rules ---------------------------------------------------------------------


def test_own_rules_go_into_their_chains(gateway: Gateway) -> None:
    gateway.rules("forward", "ip saddr @blocked drop\n")
    gateway.rules("table", "set blocked {\n\ttype ipv4_addr\n\telements = { 192.0.2.7 }\n}\n")
    up(gateway)
    assert "ip saddr @blocked drop" in gateway.nft("list", "chain", "inet", "fwlb", "rules_forward")
    gateway.nft("add element inet fwlb blocked { 192.0.2.8 }")
    assert "- element 192.0.2.8" in gateway.fwlb("diff", status=1).stdout


def test_a_mistake_in_own_rules_names_file_and_line(gateway: Gateway) -> None:
    path = gateway.rules("forward", "# mine\ntcp dport 80 acept\n")
    done = gateway.fwlb("up", "--no-daemon", status=5)
    assert f"{path}:2" in done.stderr
    assert "fwlb" not in gateway.nft("list", "ruleset")
    problem = json.loads(gateway.fwlb("diff", "--json", status=2).stdout)
    assert (problem["error"], problem["file"], problem["line"]) == ("ruleset", str(path), 2)


def test_own_rules_cannot_reach_another_table(gateway: Gateway) -> None:
    gateway.rules(
        "forward", "}\n}\ntable inet other {\nchain c {\n}\n}\ntable inet fwlb {\nchain d {\n"
    )
    done = gateway.fwlb("up", "--no-daemon", status=5)
    assert "tables beside" in done.stderr
    assert "other" not in gateway.nft("list", "ruleset")


# --- confirm --------------------------------------------------------------------------------------


def wait_until(condition: object, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)


def test_a_confirmed_change_stays(gateway: Gateway) -> None:
    done = gateway.fwlb("up", "--no-daemon", "--confirm", "6")
    assert "fwlb confirm" in done.stdout
    gateway.fwlb("confirm")
    time.sleep(6.5)
    assert gateway.diff()["same"]
    assert "nothing" not in gateway.fwlb("confirm", status=8).stdout


def test_an_unconfirmed_change_is_rolled_back_to_what_was_before(gateway: Gateway) -> None:
    up(gateway)
    before = gateway.nft("list", "ruleset"), gateway.host.run(["ip", "rule"]).stdout
    gateway.configure(helper=False)
    gateway.fwlb("up", "--no-daemon", "--confirm", "1")
    assert gateway.nft("list", "ruleset") != before[0]
    wait_until(lambda: gateway.nft("list", "ruleset") == before[0], 5)
    wait_until(lambda: not (gateway.state / "pending.json").exists(), 5)
    assert gateway.host.run(["ip", "rule"]).stdout == before[1]


def test_an_unconfirmed_first_change_leaves_nothing(gateway: Gateway) -> None:
    gateway.fwlb("up", "--no-daemon", "--confirm", "1")
    wait_until(lambda: not gateway.state.exists(), 5)
    assert "fwlb" not in gateway.nft("list", "ruleset")


def test_roll_back_happens_though_the_process_is_killed(gateway: Gateway) -> None:
    daemon = gateway.start("--confirm", "3")
    assert daemon.pid
    os.kill(daemon.pid, signal.SIGKILL)
    daemon.wait(5)
    assert "fwlb" in gateway.nft("list", "ruleset")
    wait_until(lambda: "fwlb" not in gateway.nft("list", "ruleset"), 8)
    wait_until(lambda: not gateway.state.exists(), 5)


def test_roll_back_stops_the_daemon_that_nobody_confirmed(gateway: Gateway) -> None:
    daemon = gateway.start("--confirm", "2")
    assert daemon.wait(15) == 0
    assert "fwlb" not in gateway.nft("list", "ruleset")


def test_a_second_change_waits_for_the_first(gateway: Gateway) -> None:
    gateway.fwlb("up", "--no-daemon", "--confirm", "60")
    assert "waits for confirmation" in gateway.fwlb("up", "--no-daemon", status=8).stderr
    gateway.fwlb("confirm")
    up(gateway)


def test_without_its_watchdog_the_next_up_rolls_back(gateway: Gateway) -> None:
    gateway.fwlb("up", "--no-daemon", "--confirm", "60")
    pending = gateway.state / "pending.json"
    value = json.loads(pending.read_text())
    pending.write_text(json.dumps({**value, "boot_id": "another boot"}))
    assert "never confirmed" in gateway.fwlb("up", "--no-daemon", status=8).stderr
    assert "fwlb" not in gateway.nft("list", "ruleset")


# --- trouble --------------------------------------------------------------------------------------


def test_a_missing_interface_is_named(gateway: Gateway) -> None:
    gateway.configure(gateway.file.read_text().replace('"wan0"', '"wan9"'))
    done = gateway.fwlb("up", "--no-daemon", status=4)
    assert "wan9 does not exist" in done.stderr
    assert "lan0" in done.stderr  # what there is
    assert "fwlb" not in gateway.nft("list", "ruleset")


def test_a_foreign_table_of_our_name_is_left_alone(gateway: Gateway) -> None:
    gateway.nft("add table inet fwlb; add chain inet fwlb theirs")
    for verb in (["up", "--no-daemon"], ["down"]):
        assert "did not make" in gateway.fwlb(*verb, status=5).stderr
    assert gateway.fwlb("diff", status=2).stderr
    assert "theirs" in gateway.nft("list", "ruleset")
    gateway.nft("delete", "table", "inet", "fwlb")


def test_without_root_it_says_so(gateway: Gateway) -> None:
    gateway.directory.chmod(0o755)
    for parent in list(gateway.directory.parents)[:3]:
        if parent.stat().st_uid == 0 and parent != Path("/tmp"):
            parent.chmod(0o755)
    done = gateway.host.run(
        [
            "setpriv",
            "--bounding-set=-all",
            "--inh-caps=-all",
            sys.executable,
            "-m",
            "fwlb",
            "diff",
            "-c",
            str(gateway.file),
        ],
        check=False,
    )
    assert done.returncode == 2
    assert "run it as root" in done.stderr


def test_without_libnftables_it_names_the_package(gateway: Gateway) -> None:
    broken = gateway.directory / "broken"
    broken.mkdir()
    (broken / "nftables.py").write_text(  # what the real one does without the library
        "class Nftables:\n    def __init__(self):\n        raise OSError('libnftables.so.1: no')\n"
    )
    done = gateway.host.run(
        [sys.executable, "-m", "fwlb", "up", "--no-daemon", "-c", str(gateway.file)],
        check=False,
        env={"PYTHONPATH": f"{broken}:{os.environ.get('PYTHONPATH', '')}"},
    )
    assert done.returncode == 4, done.stderr
    assert "libnftables1" in done.stderr


def test_a_failure_half_way_puts_everything_back(gateway: Gateway) -> None:
    """Sysctls come last; this one can be read and not be set."""
    gateway.configure(more='\n[sysctl]\n"net.netfilter.nf_conntrack_count" = 7654321\n')
    before = gateway.footprint()
    done = gateway.fwlb("up", "--no-daemon", status=4)
    assert "nf_conntrack_count" in done.stderr
    assert gateway.footprint() == before
    assert not gateway.state.exists()

    gateway.configure(helper=False)
    up(gateway)
    with_table = gateway.footprint()
    gateway.configure(more='\n[sysctl]\n"net.netfilter.nf_conntrack_count" = 7654321\n')
    gateway.fwlb("up", "--no-daemon", status=4)
    assert gateway.footprint() == with_table
    gateway.configure(helper=False)
    assert gateway.diff()["same"]


def test_a_damaged_state_file_is_named(gateway: Gateway) -> None:
    up(gateway)
    undo = gateway.state / "undo.json"
    good = undo.read_text()
    undo.write_text("{")
    assert "undo.json" in gateway.fwlb("up", "--no-daemon", status=4).stderr
    undo.write_text(good)


def test_two_verbs_at_once_wait_for_each_other(gateway: Gateway) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(gateway.fwlb, "up", "--no-daemon") for _ in range(4)]
    assert all(run.result().returncode == 0 for run in runs)
    assert sum("nothing to change" in run.result().stdout for run in runs) == 3
    assert gateway.diff()["same"]


def test_a_state_directory_that_cannot_be_written_is_named(gateway: Gateway) -> None:
    gateway.state.write_text("a file, no directory")
    assert str(gateway.state) in gateway.fwlb("up", "--no-daemon", status=4).stderr
    gateway.state.unlink()
    shutil.rmtree(gateway.state, ignore_errors=True)
    assert "fwlb" not in gateway.nft("list", "ruleset")
