"""Which control connections are admitted, and where they go."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from fwlb.engine import Admitted, Engine, Opening, Rejected
from fwlb.errors import ConfigError
from fwlb.model import Endpoint, Refusal


def rejected(answer: Admitted | Rejected) -> tuple[Refusal, str]:
    assert isinstance(answer, Rejected)
    return answer.reason, answer.detail


def admitted(answer: Admitted | Rejected) -> tuple[str, str]:
    """Where to connect, and as whom."""
    assert isinstance(answer, Admitted)
    return str(answer.session.server), str(answer.source)


def test_a_client_goes_out_as_itself_and_the_kernel_translates(gateway) -> None:
    assert admitted(gateway.open()) == ("198.51.100.7:21", "10.1.0.2")
    assert gateway.events("session-opened") == [
        {
            "helper": "ftp",
            "client": "10.1.0.2:50001",
            "dialled": "198.51.100.7:21",
            "server": "198.51.100.7:21",
            "client_seen": "203.0.113.1",
            "hairpin": False,
        }
    ]


def test_the_helper_knows_both_ends_by_all_their_addresses(gateway) -> None:
    gateway.open("198.51.100.7", "203.0.113.1")
    (helper,) = gateway.helpers
    client, server = helper.addresses.values()
    assert client == {ip_address("198.51.100.7")}
    assert server == {ip_address("203.0.113.1"), ip_address("10.1.0.10")}


def test_a_published_server_needs_no_allow(gateway) -> None:
    answer = gateway.open("198.51.100.7", "203.0.113.2", port=2100)
    assert admitted(answer) == ("10.1.0.10:21", "198.51.100.7")
    assert gateway.engine.server_of(Endpoint(ip_address("203.0.113.2"), 2100)) == Endpoint(
        ip_address("10.1.0.10"), 21
    )


def test_in_a_hairpin_the_relay_connects_from_the_gateway(gateway) -> None:
    assert admitted(gateway.open("10.1.0.2", "203.0.113.1", egress="10.1.0.1")) == (
        "10.1.0.10:21",
        "10.1.0.1",
    )


def test_the_forward_policy_holds_for_relayed_connections(gateway) -> None:
    assert rejected(gateway.open("198.51.100.7", "10.1.0.10")) == (
        Refusal.POLICY,
        "tcp/21 from outside to inside: drop",
    )
    assert rejected(gateway.open("10.1.0.2", "198.51.100.7", port=2121)) == (
        Refusal.POLICY,
        "tcp/2121 from inside to outside: drop",
    )
    assert gateway.refusals() == {"forward-policy": 2}
    assert gateway.engine.sessions(gateway.now) == []


def test_a_stranger_to_all_zones_is_refused(make_gateway) -> None:
    gateway = make_gateway(
        zones={
            "inside": {"interfaces": ["lan0"], "networks": ["10.1.0.0/24"]},
            "outside": {"interfaces": ["wan0"], "networks": ["198.51.100.0/24"]},
        },
        policy={"forward": "accept"},
    )
    assert rejected(gateway.open("192.0.2.1")) == (Refusal.POLICY, "192.0.2.1 is in no zone")
    assert rejected(gateway.open(dialled="192.0.2.1")) == (
        Refusal.POLICY,
        "192.0.2.1 is in no zone",
    )


def test_no_route_to_a_server_that_would_be_masqueraded_to(gateway) -> None:
    assert rejected(gateway.open(egress=None)) == (
        Refusal.UPSTREAM_UNREACHABLE,
        "no own address towards 198.51.100.7",
    )
    assert admitted(gateway.open("fd01::2", "2001:db8::7", egress=None))


def test_so_many_sessions_and_no_more(make_gateway) -> None:
    gateway = make_gateway(relay={"max_sessions": 2})
    gateway.open("10.1.0.2", session_id="s1")
    gateway.open("10.1.0.3", session_id="s2")
    assert rejected(gateway.open("10.1.0.4", session_id="s3")) == (
        Refusal.SESSION_LIMIT,
        "2 sessions are open",
    )
    gateway.close("s1")
    assert admitted(gateway.open("10.1.0.4", session_id="s3"))


def test_so_many_of_one_source_and_no_more(make_gateway) -> None:
    gateway = make_gateway(relay={"max_sessions_per_source": 2})
    gateway.open(session_id="s1")
    gateway.open(session_id="s2")
    assert rejected(gateway.open(session_id="s3")) == (
        Refusal.SOURCE_LIMIT,
        "10.1.0.2 has 2 sessions open",
    )
    assert admitted(gateway.open("10.1.0.3", session_id="s3"))
    gateway.close("s1")
    assert admitted(gateway.open(session_id="s4"))


def test_sources_that_left_are_forgotten(gateway) -> None:
    for number in range(2, 50):
        gateway.open(f"10.1.0.{number}")
        gateway.close()
    assert not gateway.engine._per_source


def test_a_refused_opening_is_logged_with_its_ends(gateway) -> None:
    gateway.open("198.51.100.7", "10.1.0.10")
    assert gateway.events("refused") == [
        {
            "reason": "forward-policy",
            "detail": "tcp/21 from outside to inside: drop",
            "helper": "ftp",
            "client": "198.51.100.7:50001",
            "dialled": "10.1.0.10:21",
        }
    ]


def test_one_id_is_one_session(gateway) -> None:
    gateway.open()
    with pytest.raises(ValueError, match="session s1 is open already"):
        gateway.open()


def test_a_helper_that_does_not_exist_leaves_nothing_behind(make_config) -> None:
    engine = Engine(make_config(), entropy=int)
    client, dialled = (Endpoint(ip_address(a), 21) for a in ("10.1.0.2", "198.51.100.7"))
    opening = Opening("s1", "gopher", client, dialled, ip_address("203.0.113.1"))
    with pytest.raises(ConfigError):
        engine.open(opening, now=0)
    assert engine.sessions(0) == []
    assert engine.snapshot(0)["sessions"]["opened"] == 0
