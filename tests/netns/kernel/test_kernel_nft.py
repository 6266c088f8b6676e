"""libnftables in its child process: loading, comparing, and what happens when it dies."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from fwlb.errors import NftCrashError, RulesetError
from fwlb.kernel import nft

pytestmark = pytest.mark.netns

# libnftables 1.0.6 aborts on it: Assertion `dreg < ctx->reg_low' failed
FIVE_FIELDS = """table inet fwlb {
	map m {
		typeof meta l4proto . ip saddr . ip daddr . th sport . th dport : meta mark
		flags timeout,dynamic
	}
	chain c {
		update @m { meta l4proto . ip saddr . ip daddr . th sport . th dport : meta mark }
	}
}
"""


def children() -> set[str]:
    """Processes that this one has started and that still exist."""
    tasks = Path("/proc/self/task").glob("*/children")
    return {pid for task in tasks for pid in task.read_text().split()}


def named_namespaces(prefix: str) -> set[str]:
    return {path.name for path in Path("/run/netns").iterdir() if path.name.startswith(prefix)}


# --- run -----------------------------------------------------------------------------------------


def test_a_text_is_one_transaction(namespace: Any) -> None:
    namespace.call(nft.run, "add table inet a\nadd chain inet a c\n")
    with pytest.raises(RulesetError):
        namespace.call(nft.run, "add chain inet a d\nadd rule inet a nowhere accept\n")
    assert "chain d" not in namespace.run("nft", "list", "ruleset")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("table inet x {\n\tchain c {\n\t\tnonsense\n\t}\n}\n", 3),
        ("add table inet x\n\nadd rule inet x nowhere accept\n", 3),
        ("table inet x {\nmap m {\ntype mark : mark\nelements = { 1 : 1,\n1 : 2 }\n}\n}\n", 5),
        ("define A = 5\nadd table inet $B\n", 2),
        ('# nothing\ninclude "/nowhere.nft"\n', 2),
    ],
)
def test_a_refusal_names_the_line(namespace: Any, text: str, line: int) -> None:
    with pytest.raises(RulesetError) as caught:
        namespace.call(nft.run, text)
    assert caught.value.where.line == line
    assert namespace.run("nft", "list", "ruleset") == ""


def test_a_refusal_in_an_included_file_names_both(namespace: Any, tmp_path: Path) -> None:
    included = tmp_path / "own.nft"
    included.write_text("table inet x {\n\tnonsense\n}\n")
    with pytest.raises(RulesetError, match=f"{included}:2: syntax error") as caught:
        namespace.call(nft.run, f'add table inet y\n\ninclude "{included}"\n')
    assert caught.value.where.line == 3


def test_check_only_changes_nothing_and_finds_what_run_would_find(namespace: Any) -> None:
    namespace.call(nft.run, "add table inet a\nadd chain inet a c\n", check_only=True)
    assert namespace.run("nft", "list", "ruleset") == ""
    with pytest.raises(RulesetError):
        namespace.call(nft.run, "add rule inet a c accept\n", check_only=True)


def test_large_texts_and_any_letters_pass(namespace: Any) -> None:
    elements = ",\n".join(str(port) for port in range(1, 20_000))
    declaration = f"set s {{ type inet_service; elements = {{\n{elements} }}\n}}\n"
    namespace.call(nft.run, f'table inet a {{\ncomment "äöü €"\n{declaration}}}\n')
    snapshot = namespace.call(nft.snapshot, "a")
    assert len(snapshot.elements["s"]) == 19_999
    assert "äöü €" in snapshot.listing


# --- when it dies --------------------------------------------------------------------------------


def test_an_abort_is_an_error_and_hurts_nobody(namespace: Any) -> None:
    if "v1.0.6" not in namespace.run("nft", "--version"):
        pytest.skip("only nft 1.0.6 is known to abort on this ruleset")
    for call in (nft.run, nft.scratch):
        with pytest.raises(NftCrashError, match=r"SIGABRT on: table inet fwlb \{ /") as caught:
            namespace.call(call, FIVE_FIELDS)
        assert "Assertion" in str(caught.value)
    namespace.call(nft.run, "add table inet a\n")


def test_a_hang_ends_at_the_deadline(namespace: Any, rules: str) -> None:
    before = children()
    start = time.monotonic()
    with pytest.raises(NftCrashError, match=r"did not finish within 0\.02 s") as caught:
        namespace.call(nft.run, rules, timeout_s=0.02)
    assert time.monotonic() - start < 2
    assert "define MARK_RELAY_IN" in str(caught.value)
    assert children() <= before


def test_the_child_does_not_outlive_who_asked(namespace: Any, tmp_path: Path) -> None:
    """The asking process is killed while libnftables reads a pipe that never ends."""
    pipe = tmp_path / "endless.nft"
    os.mkfifo(pipe)
    code = f"from fwlb.kernel import nft; nft.run('include \"{pipe}\"')"
    with subprocess.Popen([*namespace.prefix(), sys.executable, "-c", code]) as asking:
        deadline = time.monotonic() + 10
        while not (started := _children_of(asking.pid)) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.3)  # until it has asked to be killed with its parent
        asking.kill()
    while any(Path(f"/proc/{pid}").exists() for pid in started):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _children_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


@pytest.mark.parametrize("call", ["snapshot()", "run('')", "scratch('')", "compare('', [])"])
def test_who_is_not_root_is_told(call: str) -> None:
    code = (
        "import os\nfrom fwlb.errors import PrivilegeError\nfrom fwlb.kernel import nft\n"
        "nft.require_root()  # loads what nobody may not read\n"
        "os.setgroups([]); os.setuid(65534)\n"
        f"try: nft.{call}\n"
        "except PrivilegeError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "CAP_NET_ADMIN" in done.stdout


# --- snapshots -----------------------------------------------------------------------------------


def test_no_table_no_snapshot(namespace: Any) -> None:
    namespace.nft("table ip fwlb { }\ntable inet fwlb2 { }\n")
    assert namespace.call(nft.snapshot) is None


def test_a_snapshot_is_what_nft_prints_and_the_static_elements(with_rules: Any) -> None:
    with_rules.nft(
        "table ip other { }\n"
        "add element inet fwlb relay_ports { 21, 554 }\n"
        "add element inet fwlb relay_alive { 21 timeout 60s }\n"
        'add element inet fwlb input_zone { "lan0" : goto refuse }\n'
    )
    snapshot = with_rules.call(nft.snapshot)
    assert snapshot.listing == with_rules.run("nft", "-s", "-t", "list", "table", "inet", "fwlb")
    assert snapshot.elements["relay_ports"] == ("21", "554")
    assert snapshot.elements["input_zone"] == ('"lan0" : goto refuse',)
    assert "relay_alive" not in snapshot.elements  # run-time state
    assert snapshot.opaque == {}
    assert snapshot.tables == [("inet", "fwlb"), ("ip", "other")]


def test_counters_that_count_change_no_snapshot(namespace: Any) -> None:
    namespace.run("ip", "link", "set", "lo", "up")
    namespace.nft(
        "table inet fwlb {\ncounter n1 { }\n"
        "set s { type ipv4_addr; counter; elements = { 127.0.0.1 }\n}\n"
        "chain c {\ntype filter hook output priority 0\n"
        "ip daddr @s counter name n1 counter accept\n}\n}\n"
    )
    before = namespace.call(nft.snapshot)
    namespace.call(_send_to_self)
    assert "packets 2" in namespace.run("nft", "list", "counter", "inet", "fwlb", "n1")
    assert "packets 2" in namespace.run("nft", "list", "set", "inet", "fwlb", "s")
    assert namespace.call(nft.snapshot) == before


def _send_to_self() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", ("127.0.0.1", 9))


def test_sets_that_nft_alone_can_show_are_digests_and_commands(with_rules: Any) -> None:
    with_rules.nft(
        "table inet fwlb {\n"
        "set states { type ct_state; elements = { new, established }\n}\n"
        "map codes { type dscp : verdict; elements = { ef : accept, cs1 : goto refuse }\n}\n"
        "set none { type dscp; }\n}\n"
    )
    snapshot = with_rules.call(nft.snapshot)
    assert snapshot.opaque.keys() == {"states", "codes", "none"}
    assert snapshot.opaque_text.keys() == {"states", "codes"}
    assert not snapshot.elements.keys() & snapshot.opaque.keys()
    with_rules.nft("flush set inet fwlb states\nflush map inet fwlb codes\n")
    emptied = with_rules.call(nft.snapshot)
    assert emptied.opaque["states"] != snapshot.opaque["states"]
    assert emptied.opaque_text == {}
    for command in snapshot.opaque_text.values():
        with_rules.call(nft.run, command)
    assert with_rules.call(nft.snapshot) == snapshot


def test_a_snapshot_is_quick_and_right_beside_a_busy_writer(with_rules: Any) -> None:
    services = ",".join(f'"lan0" . "wan0" . tcp . {n} : accept' for n in range(1, 3001))
    with_rules.nft(
        f"add element inet fwlb forward_service {{ {services} }}\n"
        'add element inet fwlb masquerade4 { 10.0.0.0/8 . "wan0" }\n'
        "add set inet fwlb states { type ct_state; }\nadd element inet fwlb states { new }\n"
    )
    quiet = with_rules.call(nft.snapshot)
    with with_rules.busy_writer(5000):
        for _ in range(3):
            assert with_rules.call(nft.snapshot, timeout_s=10) == quiet


def test_rules_can_be_loaded_beside_a_busy_writer(with_rules: Any) -> None:
    with with_rules.busy_writer(2000):
        with_rules.call(
            nft.run, "flush chain inet fwlb forward\nadd rule inet fwlb forward accept\n"
        )
    snapshot = with_rules.call(nft.snapshot)
    assert "chain forward" in snapshot.listing


# --- scratch and compare -------------------------------------------------------------------------


def test_scratch_shows_what_a_text_means_and_leaves_nothing(namespace: Any, rules: str) -> None:
    processes, namespaces = children(), named_namespaces(f"fwlbB{os.getpid()}")
    names = namespace.run("ip", "-br", "link")
    text = rules + (
        "table inet fwlb {\nchain own {\n"
        'iif "lan0" oif "wan-0.1" accept\niifname { "x", "y" } drop\n}\n}\n'
    )
    devices = ["lan0", "wan-0.1", "lan0", "lo", "unused"]
    snapshot = namespace.call(nft.scratch, text, devices=devices)
    assert 'iif "lan0" oif "wan-0.1" accept' in snapshot.listing
    assert snapshot.tables == [("inet", "fwlb")]
    assert namespace.run("nft", "list", "ruleset") == ""
    assert namespace.run("ip", "-br", "link") == names
    # a namespace without a name lives as long as a process in it
    assert children() <= processes
    assert named_namespaces(f"fwlbB{os.getpid()}") == namespaces


def test_scratch_tells_every_table_that_a_text_makes(namespace: Any) -> None:
    text = "table inet fwlb { }\ntable ip mine { }\ntable netdev fwlb { }\n"
    snapshot = namespace.call(nft.scratch, text)
    assert sorted(snapshot.tables) == [("inet", "fwlb"), ("ip", "mine"), ("netdev", "fwlb")]


def test_a_text_without_our_table_is_refused(namespace: Any) -> None:
    with pytest.raises(RulesetError, match="make no table inet fwlb"):
        namespace.call(nft.scratch, "table ip mine { }\n")


def test_a_text_that_the_kernel_refuses_is_refused_with_its_line(namespace: Any) -> None:
    text = "table inet fwlb {\nchain c {\n\ttype filter hook forward priority 0\n}\n}\n"
    text += "add rule inet fwlb c jump c\n"
    with pytest.raises(RulesetError) as caught:
        namespace.call(nft.scratch, text)
    assert caught.value.where.line == 6


def test_compare_after_loading_finds_no_difference(namespace: Any, rules: str) -> None:
    text = rules + 'add element inet fwlb masquerade4 { 10.1.0.0/24 . "wan0" }\n'
    live, wanted = namespace.call(nft.compare, text, ["lan0", "wan0"])
    assert live is None
    namespace.call(nft.run, text)
    live, again = namespace.call(nft.compare, text, ["lan0", "wan0"])
    assert live == wanted == again


def test_compare_knows_the_interfaces_of_this_host(namespace: Any, rules: str) -> None:
    namespace.run("ip", "link", "add", "docker0", "type", "veth", "peer", "name", "other0")
    own = 'table inet fwlb {\nchain rules_forward {\niif "docker0" accept\n}\n}\n'
    namespace.call(nft.run, rules + own)
    live, wanted = namespace.call(nft.compare, rules + own, ["lan0"])
    assert live == wanted
    assert 'iif "docker0" accept' in live.listing


def test_compare_shows_opaque_sets_of_both_sides(namespace: Any, rules: str) -> None:
    namespace.call(
        nft.run, rules + "add set inet fwlb s { type dscp; }\nadd element inet fwlb s { ef }\n"
    )
    text = rules + "add set inet fwlb s { type dscp; }\nadd element inet fwlb s { cs1 }\n"
    live, wanted = namespace.call(nft.compare, text, [])
    assert live.listing == wanted.listing
    assert live.opaque["s"] != wanted.opaque["s"]
    assert "ef" in live.opaque_text["s"]
    assert "cs1" in wanted.opaque_text["s"]


def test_ten_thousand_elements_are_compared_in_a_second(namespace: Any, rules: str) -> None:
    services = ",\n".join(f'"lan{n % 7}" . "wan0" . tcp . {n} : accept' for n in range(1, 10001))
    text = rules + f"add element inet fwlb forward_service {{\n{services}\n}}\n"
    namespace.call(nft.run, text)
    start = time.perf_counter()
    live, wanted = namespace.call(nft.compare, text, ["lan0", "wan0"])
    took_s = time.perf_counter() - start
    assert live == wanted
    assert len(live.elements["forward_service"]) == 10_000
    assert took_s < 1.2  # 0.35 s on an idle core
