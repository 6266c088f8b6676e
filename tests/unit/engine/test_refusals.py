"""What is not granted: who is told what, what is counted, and that nothing opens."""

from __future__ import annotations

import pytest

from fwlb.engine import Outcome
from fwlb.model import Refusal, Side

CLIENT, SERVER, PUBLIC = "10.1.0.2", "198.51.100.7", "203.0.113.1"
ONE_BLOCK = {"ports": "20480-20735"}
LISTEN = f"LISTEN 1 {CLIENT} 40001\n"


def ftp(**policy: str) -> dict[str, dict[str, str]]:
    return {"ftp": policy}


class TestAWishThatIsNeverGranted:
    def test_reject_sends_the_substitute(self, gateway) -> None:
        gateway.open()
        assert gateway.client("hello\nBAD\nbye\n") == "hello\nNO\nbye\n"
        assert gateway.refusals() == {"port-below-1024": 1}
        assert gateway.events("refused") == [
            {"reason": "port-below-1024", "detail": "port 22", "sender": "client"}
        ]

    def test_pass_sends_the_message(self, make_gateway) -> None:
        gateway = make_gateway(helpers=ftp(refused="pass"))
        gateway.open()
        assert gateway.client("hello\nBAD\nbye\n") == "hello\nBAD\nbye\n"
        assert gateway.refusals() == {"port-below-1024": 1}


class TestNoFreePort:
    @pytest.mark.parametrize(("policy", "told"), [("reject", "NO\n"), ("pass", None)])
    def test_the_channel_is_refused(self, make_gateway, policy: str, told: str | None) -> None:
        gateway = make_gateway(bindings=ONE_BLOCK, helpers=ftp(refused=policy))
        for number in range(256):
            session_id = f"s{number}"
            gateway.open(session_id=session_id)
            gateway.client(f"LISTEN 1 {CLIENT} {30000 + number}\n", session_id)
            gateway.close(session_id)
        gateway.open(session_id="late")
        assert gateway.client(LISTEN, "late") == (told or LISTEN)
        gateway.server("AGREE 1\n", "late")
        assert gateway.in_kernel() == {}
        assert gateway.refusals() == {"no-free-port": 1}
        gateway.wait(5)
        assert gateway.client(LISTEN, "late").startswith(f"LISTEN 1 {PUBLIC} ")


def test_so_many_channels_of_one_session_and_no_more(gateway) -> None:
    gateway.open()
    for number in range(64):
        assert gateway.client(f"LISTEN {number} {CLIENT} {30000 + number}\n") != "NO\n"
    assert gateway.client(f"LISTEN 64 {CLIENT} 40001\n") == "NO\n"
    assert gateway.refusals() == {"channel-limit": 1}
    gateway.server("OVER 5\n")
    assert gateway.client(f"LISTEN 64 {CLIENT} 40001\n") != "NO\n"


class TestKernel:
    @pytest.mark.parametrize(("policy", "told"), [("reject", "NO\n"), ("pass", LISTEN)])
    def test_a_binding_that_the_kernel_does_not_take(
        self, make_gateway, policy: str, told: str
    ) -> None:
        gateway = make_gateway(helpers=ftp(refused=policy))
        gateway.open()
        gateway.broken = Refusal.SET_FULL
        assert gateway.client(f"before\n{LISTEN}after\n") == f"before\n{told}after\n"
        assert gateway.engine.elements() == []
        assert gateway.refusals() == {"set-full": 1}
        assert gateway.events("binding-closed")[0]["why"] == "set-full"
        gateway.server("AGREE 1\n")
        assert gateway.in_kernel() == {}

    def test_the_next_one_works(self, gateway) -> None:
        gateway.open()
        gateway.broken = Refusal.KERNEL
        gateway.client(LISTEN)
        assert gateway.client(LISTEN).startswith(f"LISTEN 1 {PUBLIC} ")
        assert len(gateway.in_kernel()) == 2

    def test_a_pinhole_that_it_does_not_take_ends_the_channel(self, gateway) -> None:
        gateway.open()
        gateway.client(LISTEN)
        gateway.broken = Refusal.SET_FULL
        assert gateway.server("AGREE 1\n") == "AGREE 1\n"
        assert gateway.in_kernel() == {}
        (port,) = (usage["in_use"] for usage in gateway.engine.snapshot(gateway.now)["ports"])
        assert port == 0

    def test_an_announcement_that_needs_only_a_pinhole(self, gateway) -> None:
        gateway.open()
        gateway.broken = Refusal.SET_FULL
        assert gateway.server(f"LISTEN! 1 {SERVER} 40001\n") == "NO\n"

    def test_an_announcement_that_needs_nothing_yet_passes(self, gateway) -> None:
        gateway.open("fd01::2", "2001:db8::7")
        gateway.server("LISTEN! 2 2001:db8::7 40001\n")
        gateway.broken = Refusal.SET_FULL
        line = "LISTEN 1 fd01::2 40001\nOVER 2\n"
        assert gateway.client(line) == line

    def test_a_lost_deletion_is_repeated(self, gateway) -> None:
        gateway.open()
        gateway.client(LISTEN)
        gateway.broken = Refusal.KERNEL
        gateway.client(f"OVER 1\nLISTEN 2 {CLIENT} 40002\n")
        assert gateway.in_kernel() == {}

    def test_what_another_session_needs_stays(self, gateway) -> None:
        for session_id in ("s1", "s2"):
            gateway.open(session_id=session_id)
        gateway.server(f"LISTEN! 1 {SERVER} 40001\n", "s1")
        gateway.broken = Refusal.KERNEL
        assert gateway.server(f"LISTEN! 1 {SERVER} 40001\n", "s2") == "NO\n"
        assert len(gateway.in_kernel()) == 1
        gateway.close("s1")
        assert gateway.in_kernel() == {}

    def test_it_does_not_go_on_for_ever(self, gateway) -> None:
        gateway.open()
        engine, now = gateway.engine, gateway.now
        outcome = engine.receive("s1", Side.CLIENT, LISTEN.encode(), now)
        repair = engine.kernel_refused("s1", outcome, Refusal.KERNEL, now)
        assert repair.changes
        last = engine.kernel_refused("s1", repair, Refusal.KERNEL, now)
        assert last.changes == ()
        assert gateway.refusals() == {"kernel-error": 2}

    def test_a_session_that_is_gone_meanwhile(self, gateway) -> None:
        gateway.open()
        engine, now = gateway.engine, gateway.now
        outcome = engine.receive("s1", Side.CLIENT, LISTEN.encode(), now)
        gateway.close()
        repair = engine.kernel_refused("s1", outcome, Refusal.KERNEL, now)
        assert repair.sends == ()
        assert engine.elements() == []


class TestOpaque:
    def test_encryption_is_no_refusal(self, gateway) -> None:
        gateway.open()
        outcome = gateway.engine.receive("s1", Side.SERVER, b"ok\nSECRET\n", gateway.now)
        assert outcome.opaque
        assert not outcome.close
        assert b"".join(send.data for send in outcome.sends) == b"ok\nSECRET\n"
        assert gateway.refusals() == {}
        assert [event.fields for event in outcome.events] == [
            {"why": "encrypted", "reason": None, "closing": False}
        ]
        assert gateway.engine.snapshot(gateway.now)["sessions"]["went_opaque"] == 1

    def test_nothing_stays_open_and_nothing_opens_any_more(self, gateway) -> None:
        gateway.open()
        gateway.client(LISTEN)
        gateway.server("AGREE 1\n")
        gateway.client("SECRET\n")
        assert gateway.in_kernel() == {}
        assert gateway.client(LISTEN) == LISTEN
        assert gateway.in_kernel() == {}

    def test_junk_passes_unread(self, gateway) -> None:
        gateway.open()
        assert gateway.client("JUNK\n") == "JUNK\n"
        outcome = gateway.engine.receive("s1", Side.CLIENT, b"more", gateway.now)
        assert outcome.opaque
        assert gateway.refusals() == {"not-this-protocol": 1}

    def test_or_closes_the_session_without_its_junk(self, make_gateway) -> None:
        gateway = make_gateway(helpers=ftp(garbled="close"))
        gateway.open()
        outcome = gateway.engine.receive("s1", Side.CLIENT, b"hi\nJUNK\nhi\n", gateway.now)
        assert outcome.close
        assert not outcome.opaque
        assert b"".join(send.data for send in outcome.sends) == b"hi\n"
        assert gateway.refusals() == {"not-this-protocol": 1}

    def test_a_session_that_is_to_be_closed_hears_nothing(self, make_gateway) -> None:
        gateway = make_gateway(helpers=ftp(garbled="close"))
        gateway.open()
        gateway.client("JUNK\n")
        assert gateway.engine.receive("s1", Side.SERVER, b"hi\n", gateway.now) == Outcome(
            close=True
        )
        assert gateway.engine.eof("s1", Side.SERVER, gateway.now) == Outcome(close=True)

    def test_encryption_is_not_closed(self, make_gateway) -> None:
        gateway = make_gateway(helpers=ftp(garbled="close"))
        gateway.open()
        assert gateway.client("SECRET\n") == "SECRET\n"
        assert gateway.client("more") == "more"


class TestStream:
    def test_half_a_message_waits_for_the_rest(self, gateway) -> None:
        gateway.open()
        assert gateway.client("hel") == ""
        assert gateway.client("lo\n") == "hello\n"

    def test_the_end_of_a_stream_lets_go_of_what_was_held(self, gateway) -> None:
        gateway.open()
        gateway.client("hel")
        outcome = gateway.engine.eof("s1", Side.CLIENT, gateway.now)
        assert [(send.to, send.data) for send in outcome.sends] == [(Side.SERVER, b"hel")]
        assert gateway.server("still here\n") == "still here\n"

    def test_an_unknown_session_is_a_mistake_of_the_caller(self, gateway) -> None:
        with pytest.raises(KeyError):
            gateway.client("hello\n")
        with pytest.raises(KeyError):
            gateway.engine.eof("s1", Side.CLIENT, gateway.now)


def test_the_relay_counts_its_own_refusals_here(gateway) -> None:
    gateway.engine.count(Refusal.UPSTREAM_TIMEOUT)
    assert gateway.refusals() == {"upstream-timeout": 1}
