"""What the other end is told, and what the kernel gets, for every way an endpoint is announced."""

from __future__ import annotations

import pytest

from fwlb.model import Refusal

CLIENT, SERVER, PUBLIC = "10.1.0.2", "198.51.100.7", "203.0.113.1"


def public_port(line: str) -> str:
    return line.split()[3]


class TestRouted:
    """Nobody is translated: the message passes, only a pinhole opens."""

    @pytest.fixture(autouse=True)
    def _session(self, gateway) -> None:
        gateway.open("fd01::2", "2001:db8::7")

    def test_client_listens(self, gateway) -> None:
        line = "LISTEN 1 fd01::2 40001\n"
        assert gateway.client(line) == line
        assert gateway.in_kernel() == {}
        gateway.server("AGREE 1\n")
        assert gateway.in_kernel() == {"pinhole6: 6 . 2001:db8::7 . fd01::2 . 40001": None}

    def test_server_listens(self, gateway) -> None:
        line = "LISTEN! 1 2001:db8::7 40001\n"
        assert gateway.server(line) == line
        assert gateway.in_kernel() == {"pinhole6: 6 . fd01::2 . 2001:db8::7 . 40001": None}

    def test_a_message_that_needs_no_change_is_not_composed_anew(self, gateway) -> None:
        line = "LISTEN   1  FD01::2   040001\n"
        assert gateway.client(line) == line


class TestHiddenClient:
    """The client is behind our NAT."""

    @pytest.fixture(autouse=True)
    def _session(self, gateway) -> None:
        gateway.open()

    def test_client_listens(self, gateway) -> None:
        told = gateway.client(f"LISTEN 1 {CLIENT} 40001\n")
        port = public_port(told)
        assert told == f"LISTEN 1 {PUBLIC} {port}\n"
        bindings = {
            f"binding_in4: 6 . {PUBLIC} . {port}": f"{CLIENT} . 40001",
            f"binding_out4: 6 . {CLIENT} . 40001": f"{PUBLIC} . {port}",
        }
        assert gateway.in_kernel() == bindings
        gateway.server("AGREE 1\n")
        pinhole = {f"pinhole4: 6 . {SERVER} . {CLIENT} . 40001": None}
        assert gateway.in_kernel() == bindings | pinhole

    def test_a_client_that_announces_its_public_address_itself(self, gateway) -> None:
        told = gateway.client(f"LISTEN 1 {PUBLIC} 40001\n")
        assert gateway.in_kernel()[f"binding_out4: 6 . {CLIENT} . 40001"] == (
            f"{PUBLIC} . {public_port(told)}"
        )

    def test_the_port_is_kept_where_it_is_free(self, gateway) -> None:
        assert gateway.client(f"LISTEN 1 {CLIENT} 20500\n") == f"LISTEN 1 {PUBLIC} 20500\n"

    def test_server_listens(self, gateway) -> None:
        line = f"LISTEN! 1 {SERVER} 40001\n"
        assert gateway.server(line) == line
        assert gateway.in_kernel() == {f"pinhole4: 6 . {CLIENT} . {SERVER} . 40001": None}


class TestPublishedServer:
    """The server is behind our NAT, clients dial 203.0.113.1."""

    @pytest.fixture(autouse=True)
    def _session(self, gateway) -> None:
        gateway.open(SERVER, PUBLIC)

    def test_server_listens(self, gateway) -> None:
        told = gateway.server("LISTEN! 1 10.1.0.10 40001\n")
        port = public_port(told)
        assert told == f"LISTEN! 1 {PUBLIC} {port}\n"
        assert gateway.in_kernel() == {
            f"binding_in4: 6 . {PUBLIC} . {port}": "10.1.0.10 . 40001",
            "binding_out4: 6 . 10.1.0.10 . 40001": f"{PUBLIC} . {port}",
            f"pinhole4: 6 . {SERVER} . 10.1.0.10 . 40001": None,
        }

    def test_client_listens_and_is_called_from_the_address_it_dialled(self, gateway) -> None:
        line = f"LISTEN 1 {SERVER} 40001\n"
        assert gateway.client(line) == line
        gateway.server("AGREE 1\n")
        assert gateway.in_kernel() == {
            f"pinhole4: 6 . 10.1.0.10 . {SERVER} . 40001": None,
            f"pinhole_snat4: 6 . 10.1.0.10 . {SERVER} . 40001": PUBLIC,
        }


class TestHairpin:
    """Client and server are in one zone; the client dialled the public address."""

    @pytest.fixture(autouse=True)
    def _session(self, gateway) -> None:
        gateway.open(CLIENT, PUBLIC, egress="10.1.0.1")

    def test_server_listens(self, gateway) -> None:
        told = gateway.server("LISTEN! 1 10.1.0.10 40001\n")
        port = public_port(told)
        assert told == f"LISTEN! 1 {PUBLIC} {port}\n"
        assert gateway.in_kernel("pinhole") == {
            f"pinhole4: 6 . {CLIENT} . 10.1.0.10 . 40001": None,
            f"pinhole_snat4: 6 . {CLIENT} . 10.1.0.10 . 40001": "10.1.0.1",
        }

    def test_client_listens(self, gateway) -> None:
        told = gateway.client(f"LISTEN 1 {CLIENT} 40001\n")
        port = public_port(told)
        assert told == f"LISTEN 1 10.1.0.1 {port}\n"
        gateway.server("AGREE 1\n")
        assert gateway.in_kernel() == {
            f"binding_in4: 6 . 10.1.0.1 . {port}": f"{CLIENT} . 40001",
            f"binding_out4: 6 . {CLIENT} . 40001": f"10.1.0.1 . {port}",
            f"pinhole4: 6 . 10.1.0.10 . {CLIENT} . 40001": None,
            f"pinhole_snat4: 6 . 10.1.0.10 . {CLIENT} . 40001": PUBLIC,
        }


class TestEnd:
    def test_the_end_of_a_channel_takes_everything_away(self, gateway) -> None:
        gateway.open()
        gateway.client(f"LISTEN 1 {CLIENT} 40001\n")
        gateway.server("AGREE 1\n")
        assert gateway.server("OVER 1\n") == "OVER 1\n"
        assert gateway.in_kernel() == {}
        assert gateway.engine.elements() == []

    def test_the_end_of_the_session_too(self, gateway) -> None:
        gateway.open()
        gateway.client(f"LISTEN 1 {CLIENT} 40001\n")
        gateway.server("AGREE 1\n")
        gateway.wait(5)
        gateway.close(why="client left")
        assert gateway.in_kernel() == {}
        assert gateway.events("session-closed") == [
            {
                "helper": "ftp",
                "client": "10.1.0.2:50001",
                "dialled": "198.51.100.7:21",
                "server": "198.51.100.7:21",
                "why": "client left",
                "age_s": 5.0,
            }
        ]

    def test_closing_twice_is_no_error(self, gateway) -> None:
        gateway.open()
        gateway.close()
        gateway.close()
        assert len(gateway.events("session-closed")) == 1

    def test_a_channel_announced_again_replaces_the_former(self, gateway) -> None:
        gateway.open()
        first = gateway.client(f"LISTEN 1 {CLIENT} 40001\n")
        second = gateway.client(f"LISTEN 1 {CLIENT} 40002\n")
        assert list(gateway.in_kernel("binding_in")) == [
            f"binding_in4: 6 . {PUBLIC} . {public_port(second)}"
        ]
        assert public_port(first) != public_port(second)
        assert [event["why"] for event in gateway.events("binding-closed")] == ["replaced"]

    def test_the_same_endpoint_again_gets_a_new_port_in_one_transaction(self, gateway) -> None:
        """The old port rests: the peer may still send to it."""
        gateway.open()
        first = gateway.client(f"LISTEN 1 {CLIENT} 40001\n")
        second = gateway.client(f"LISTEN 1 {CLIENT} 40001\n")
        assert public_port(first) != public_port(second)
        assert gateway.in_kernel("binding_out") == {
            f"binding_out4: 6 . {CLIENT} . 40001": f"{PUBLIC} . {public_port(second)}"
        }

    def test_what_comes_and_goes_in_one_read_never_reaches_the_kernel(self, gateway) -> None:
        gateway.open("198.51.100.7", PUBLIC)
        told = gateway.server("LISTEN! 1 10.1.0.10 40001\nOVER 1\n")
        assert told.endswith("OVER 1\n")
        assert gateway.in_kernel() == {}
        assert len(gateway.events("pinhole-opened")) == len(gateway.events("pinhole-closed")) == 1

    def test_news_of_unknown_channels_is_none(self, gateway) -> None:
        gateway.open()
        assert gateway.server("AGREE 7\nOVER 8\n") == "AGREE 7\nOVER 8\n"
        assert gateway.in_kernel() == {}


class TestTime:
    def test_a_binding_and_a_pinhole_lapse_in_the_kernel_and_then_in_the_book(
        self, make_gateway
    ) -> None:
        gateway = make_gateway(bindings={"timeout_s": 20})
        gateway.open()
        gateway.client(f"LISTEN 1 {CLIENT} 40001\n")
        gateway.server("AGREE 1\n")
        gateway.wait(20)
        assert list(gateway.in_kernel()) == [f"pinhole4: 6 . {SERVER} . {CLIENT} . 40001"]
        gateway.wait(1)
        assert [event["why"] for event in gateway.events("binding-closed")] == ["timeout"]
        gateway.wait(40)
        assert [event["why"] for event in gateway.events("pinhole-closed")] == ["timeout"]
        assert gateway.engine.elements() == []
        assert gateway.engine.next_deadline(gateway.now) is None

    def test_a_running_transfer_keeps_its_public_port_to_itself(self, gateway) -> None:
        """The server may call a second client from the same port 20 to the same public port."""
        gateway.open()
        gateway.client(f"LISTEN 1 {CLIENT} 20500\n")
        gateway.server("AGREE 1\n")
        gateway.wait(7200)
        gateway.open("10.1.0.3", session_id="s2")
        told = gateway.client("LISTEN 1 10.1.0.3 20500\n", "s2")
        assert public_port(told) != "20500"

    def test_agreeing_again_starts_the_timeout_again(self, gateway) -> None:
        gateway.open()
        gateway.client(f"LISTEN 1 {CLIENT} 40001\n")
        gateway.server("AGREE 1\n")
        gateway.wait(50)
        gateway.server("AGREE 1\n")
        gateway.wait(50)
        assert len(gateway.in_kernel()) == 3
        assert len(gateway.events("pinhole-opened")) == 1
        assert len(gateway.events("binding-opened")) == 1

    def test_a_late_agreement_finds_its_binding(self, gateway) -> None:
        gateway.open()
        told = gateway.client(f"LISTEN 1 {CLIENT} 40001\n")
        gateway.wait(100)
        assert gateway.in_kernel() == {}
        gateway.server("AGREE 1\n")
        assert f"binding_in4: 6 . {PUBLIC} . {public_port(told)}" in gateway.in_kernel()
        assert len(gateway.in_kernel()) == 3

    def test_next_deadline_is_never_in_the_past(self, gateway) -> None:
        gateway.open()
        assert gateway.engine.next_deadline(gateway.now) is None
        gateway.client(f"LISTEN 1 {CLIENT} 40001\n")
        assert gateway.engine.next_deadline(gateway.now) == gateway.now + 61
        assert gateway.engine.next_deadline(gateway.now + 100) == gateway.now + 100


class TestShared:
    """Two sessions of the same pair of hosts announce the same endpoint."""

    def test_the_element_stays_until_the_last_one_lets_go(self, gateway) -> None:
        for session_id in ("s1", "s2"):
            gateway.open("198.51.100.7", PUBLIC, session_id=session_id)
        one = gateway.server("LISTEN! 1 10.1.0.10 40001\n", "s1")
        two = gateway.server("LISTEN! 1 10.1.0.10 40001\n", "s2")
        assert one == two
        assert len(gateway.in_kernel()) == 3
        gateway.close("s1")
        assert len(gateway.in_kernel()) == 3
        gateway.close("s2")
        assert gateway.in_kernel() == {}

    def test_the_second_one_starts_the_timeout_again(self, gateway) -> None:
        for session_id in ("s1", "s2"):
            gateway.open(session_id=session_id)
        gateway.server(f"LISTEN! 1 {SERVER} 40001\n", "s1")
        gateway.wait(50)
        gateway.server(f"LISTEN! 1 {SERVER} 40001\n", "s2")
        gateway.wait(50)
        assert len(gateway.in_kernel()) == 1
        gateway.close("s2")
        assert gateway.in_kernel() == {}

    def test_the_first_one_lapses_and_the_element_is_deleted_for_both(self, gateway) -> None:
        for session_id in ("s1", "s2"):
            gateway.open(session_id=session_id)
        gateway.server(f"LISTEN! 1 {SERVER} 40001\n", "s1")
        gateway.wait(50)
        gateway.server(f"LISTEN! 1 {SERVER} 40001\n", "s2")
        gateway.close("s2")
        assert len(gateway.in_kernel()) == 1
        gateway.wait(11)
        assert gateway.in_kernel() == {}

    def test_one_server_port_under_two_public_addresses(self, gateway) -> None:
        """Both ways in work; the way out has one answer, that of the first."""
        gateway.open("198.51.100.7", "203.0.113.1", session_id="s1")
        gateway.open("198.51.100.8", "203.0.113.2", port=2100, session_id="s2")
        one = public_port(gateway.server("LISTEN! 1 10.1.0.10 40001\n", "s1"))
        two = public_port(gateway.server("LISTEN! 1 10.1.0.10 40001\n", "s2"))
        assert gateway.in_kernel("binding") == {
            f"binding_in4: 6 . 203.0.113.1 . {one}": "10.1.0.10 . 40001",
            f"binding_in4: 6 . 203.0.113.2 . {two}": "10.1.0.10 . 40001",
            "binding_out4: 6 . 10.1.0.10 . 40001": f"203.0.113.1 . {one}",
        }
        gateway.close("s1")
        assert gateway.in_kernel("binding") == {
            f"binding_in4: 6 . 203.0.113.2 . {two}": "10.1.0.10 . 40001"
        }
        gateway.close("s2")
        assert gateway.in_kernel() == {}

    def test_one_flow_cannot_have_two_sources(self, gateway) -> None:
        """The client wants to be called at one port, from two addresses of one server."""
        gateway.open("198.51.100.7", "203.0.113.1", session_id="s1")
        gateway.open("198.51.100.7", "203.0.113.2", port=2100, session_id="s2")
        for session_id in ("s1", "s2"):
            gateway.client("LISTEN 1 198.51.100.7 40001\n", session_id)
            gateway.server("AGREE 1\n", session_id)
        assert gateway.in_kernel("pinhole_snat") == {
            "pinhole_snat4: 6 . 10.1.0.10 . 198.51.100.7 . 40001": "203.0.113.1"
        }
        assert gateway.refusals() == {"flow-taken": 1}
        gateway.close("s2")
        assert len(gateway.in_kernel()) == 2

    def test_a_message_that_announces_such_a_flow_is_answered_in_its_place(self, gateway) -> None:
        gateway.open("198.51.100.7", "203.0.113.1", session_id="s1")
        gateway.open("198.51.100.7", "203.0.113.2", port=2100, session_id="s2")
        gateway.client("LISTEN! 1 198.51.100.7 40001\n", "s1")
        assert gateway.client("LISTEN! 1 198.51.100.7 40001\n", "s2") == "NO\n"

    def test_also_when_the_kernel_refuses_the_rest(self, gateway) -> None:
        gateway.open("198.51.100.7", "203.0.113.1", session_id="s1")
        gateway.open("198.51.100.7", "203.0.113.2", port=2100, session_id="s2")
        gateway.client("LISTEN! 1 198.51.100.7 40001\n", "s1")
        gateway.broken = Refusal.SET_FULL
        lines = "LISTEN! 1 198.51.100.7 40001\nhello\nLISTEN! 2 198.51.100.7 40002\n"
        assert gateway.client(lines, "s2") == "NO\nhello\nNO\n"
