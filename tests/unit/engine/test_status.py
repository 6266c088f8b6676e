"""What `fwlb status` and `fwlb sessions` see, and what a new configuration changes."""

from __future__ import annotations

import json

from fwlb.engine import Admitted, Rejected
from fwlb.model import Refusal

CLIENT, SERVER, PUBLIC = "10.1.0.2", "198.51.100.7", "203.0.113.1"


def test_every_reason_is_there_from_the_start(gateway) -> None:
    snapshot = gateway.engine.snapshot(gateway.now)
    assert snapshot["refusals"] == {reason.value: 0 for reason in Refusal}
    assert snapshot["sessions"] == {"now": 0, "opened": 0, "closed": 0, "went_opaque": 0}
    assert snapshot["pinholes"] == {"now": 0, "opened": 0, "closed": 0}
    assert snapshot["bindings"] == {"now": 0, "opened": 0, "closed": 0}
    assert snapshot["ports"] == []
    assert snapshot["oldest_session_age_s"] == 0


def test_counters_follow_a_session(gateway) -> None:
    gateway.open()
    gateway.client(f"LISTEN 1 {CLIENT} 40001\n")
    gateway.server("AGREE 1\n")
    gateway.wait(3)
    snapshot = gateway.engine.snapshot(gateway.now)
    assert snapshot["sessions"]["now"] == 1
    assert snapshot["pinholes"] == {"now": 1, "opened": 1, "closed": 0}
    assert snapshot["bindings"] == {"now": 1, "opened": 1, "closed": 0}
    assert snapshot["oldest_session_age_s"] == 3
    assert snapshot["ports"] == [
        {"address": PUBLIC, "protocol": "tcp", "in_use": 1, "resting": 0, "ready": 8191}
    ]
    gateway.close()
    snapshot = gateway.engine.snapshot(gateway.now)
    assert snapshot["sessions"] == {"now": 0, "opened": 1, "closed": 1, "went_opaque": 0}
    assert snapshot["pinholes"]["now"] == snapshot["bindings"]["now"] == 0
    assert snapshot["ports"][0]["resting"] == 1


def test_a_session_with_its_channels(gateway) -> None:
    gateway.open()
    told = gateway.client(f"LISTEN 1 {CLIENT} 40001\n")
    gateway.wait(10)
    gateway.server("AGREE 1\n")
    gateway.wait(10)
    assert gateway.engine.sessions(gateway.now) == [
        {
            "id": "s1",
            "helper": "ftp",
            "client": f"{CLIENT}:50001",
            "dialled": f"{SERVER}:21",
            "server": f"{SERVER}:21",
            "client_seen": PUBLIC,
            "age_s": 20.0,
            "opaque": False,
            "channels": [
                {
                    "channel": 1,
                    "listener": "client",
                    "endpoint": f"{CLIENT}:40001",
                    "public": f"{PUBLIC}:{told.split()[3]}",
                    "binding_left_s": 40.0,
                    "flow": f"tcp {SERVER} -> {CLIENT}:40001",
                    "source_nat": None,
                    "pinhole_left_s": 50.0,
                }
            ],
        }
    ]
    gateway.wait(100)
    (channel,) = gateway.engine.sessions(gateway.now)[0]["channels"]
    assert channel["binding_left_s"] is channel["flow"] is channel["pinhole_left_s"] is None


def test_everything_is_json(gateway) -> None:
    gateway.open("198.51.100.7", PUBLIC)
    gateway.client("LISTEN! 1 198.51.100.7 40001\n")
    gateway.server("LISTEN! 2 10.1.0.10 40001\nBAD\n")
    gateway.wait(100)
    gateway.client("SECRET\n")
    gateway.close()
    gateway.open("198.51.100.7", "10.1.0.10")
    engine, now = gateway.engine, gateway.now
    names = {event.name for event in gateway.log}
    assert names == {
        "session-opened",
        "session-closed",
        "session-opaque",
        "binding-opened",
        "binding-closed",
        "pinhole-opened",
        "pinhole-closed",
        "refused",
    }
    texts = [dict(event.fields) for event in gateway.log]
    assert json.loads(json.dumps(texts)) == texts
    for answer in (engine.snapshot(now), engine.sessions(now)):
        assert json.loads(json.dumps(answer)) == answer


def test_log_events_tell_the_life_of_a_channel(gateway) -> None:
    gateway.open("198.51.100.7", PUBLIC)
    told = gateway.server("LISTEN! 1 10.1.0.10 40001\n")
    gateway.server("OVER 1\n")
    binding = {"channel": 1, "inside": "10.1.0.10:40001", "public": f"{PUBLIC}:{told.split()[3]}"}
    pinhole = {"channel": 1, "flow": "tcp 198.51.100.7 -> 10.1.0.10:40001", "source_nat": None}
    assert [(event.name, event.session_id, dict(event.fields)) for event in gateway.log[1:]] == [
        ("binding-opened", "s1", {**binding, "timeout_s": 60}),
        ("pinhole-opened", "s1", {**pinhole, "timeout_s": 60}),
        ("pinhole-closed", "s1", {**pinhole, "why": "transfer complete"}),
        ("binding-closed", "s1", {**binding, "why": "transfer complete"}),
    ]


class TestReconfigure:
    def test_new_sessions_go_by_the_new_policy(self, gateway, make_config) -> None:
        assert isinstance(gateway.open(session_id="s1"), Admitted)
        gateway.engine.reconfigure(make_config(allow=[]), gateway.now)
        assert isinstance(gateway.open(session_id="s2"), Rejected)
        assert gateway.client("still here\n", "s1") == "still here\n"

    def test_running_sessions_keep_their_zones_and_policies(self, gateway, make_config) -> None:
        gateway.open()
        changed = make_config(nat=[], helpers={"ftp": {"refused": "pass"}})
        gateway.engine.reconfigure(changed, gateway.now)
        assert gateway.client("BAD\n") == "NO\n"
        assert gateway.client(f"LISTEN 1 {CLIENT} 40001\n").startswith(f"LISTEN 1 {PUBLIC} ")
        gateway.open(session_id="s2")
        assert gateway.client("BAD\n", "s2") == "BAD\n"
        assert gateway.client(f"LISTEN 1 {CLIENT} 40001\n", "s2") == f"LISTEN 1 {CLIENT} 40001\n"

    def test_ports_in_use_stay_booked(self, gateway, make_config) -> None:
        gateway.open()
        gateway.client(f"LISTEN 1 {CLIENT} 20500\n")
        changed = make_config(bindings={"ports": "20480-20735"})
        gateway.engine.reconfigure(changed, gateway.now)
        gateway.open("10.1.0.3", session_id="s2")
        assert gateway.client("LISTEN 1 10.1.0.3 20500\n", "s2").split()[3] != "20500"
        assert len(gateway.in_kernel("binding_in")) == 2

    def test_what_lapsed_until_then_is_forgotten(self, gateway, make_config) -> None:
        gateway.open()
        gateway.client(f"LISTEN 1 {CLIENT} 40001\n")
        outcome = gateway.engine.reconfigure(make_config(), gateway.now + 61)
        assert [event.name for event in outcome.events] == ["binding-closed"]
