"""Real FTP through every kind of address translation that a configuration can ask for.

The forward policy is `drop` and no data port is allowed: what arrives came through a pinhole.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, cast

import pytest

from fwlb.lab import Host, Lab, LabOptions
from fwlb.lab.programs import FtpServer, vsftpd
from fwlb.lab.transfers import CLIENTS, Family, Mode, Sample, Transfer, download, upload
from tests.netns import scene
from tests.netns.ftp_by_hand import Control, port_argument
from tests.netns.gateway import Gateway
from tests.netns.scene import opened, wait_for

pytestmark = pytest.mark.netns

SIZE_BYTES = 300_000
PUBLIC4, PUBLIC6, SECOND4 = "203.0.113.1", "fd02::1", "203.0.113.2"
SERVER4, SERVER6 = "10.1.0.3", "fd01::3"
WAYS: list[tuple[Mode, Family]] = [
    ("pasv", 4),
    ("epsv", 4),
    ("port", 4),
    ("eprt", 4),
    ("epsv", 6),
    ("eprt", 6),
]

ZONES = """\
[node]
name = "gw1"

[zones.inside]
interfaces = ["lan0"]
networks = ["10.1.0.0/24", "fd01::/64"]

[zones.outside]
interfaces = ["wan0"]

[policy]
forward = "drop"

[[allow]]
from = "inside"
to = "outside"
services = ["tcp/21"]
"""
MASQUERADE = '\n[[nat]]\nfrom = "inside"\nto = "outside"\n'


@dataclass(frozen=True)
class Reached(FtpServer):
    """A server that clients reach under other addresses than its own."""

    at4: str = PUBLIC4
    at6: str = PUBLIC6

    def url(self, path: str, family: Literal[4, 6] = 4) -> str:
        return f"ftp://{self.at4 if family == 4 else f'[{self.at6}]'}:{self.port}/{path}"


def reached(
    server: FtpServer, *, at4: str = PUBLIC4, at6: str = PUBLIC6, port: int = 21
) -> Reached:
    return Reached(server.name, server.host, server.root, server.process, port, at4, at6)


def published(at4: str = PUBLIC4, at6: str = PUBLIC6, port: int = 21) -> str:
    """The server on `c2`, published."""
    pairs = ((at4, SERVER4), (at6, SERVER6))
    return "".join(
        f'\n[[publish]]\naddress = "{public}"\nport = {port}\nto_address = "{real}"\nto_port = 21\n'
        for public, real in pairs
    )


@dataclass(frozen=True)
class Nat:
    """A lab whose gateway runs fwlb with the configuration of one test."""

    lab: Lab
    gateway: Gateway
    outside: FtpServer
    inside: FtpServer

    def up(self, text: str) -> None:
        tail = f"""
[paths]
rules = "{self.gateway.directory}/rules.d"
state = "{self.gateway.state}"
runtime = "{self.gateway.directory}/run"
"""
        self.gateway.configure(text + tail)
        self.gateway.start()

    def move(
        self, client: Host, server: FtpServer, mode: Mode, family: Family, program: str = "curl"
    ) -> list[Transfer]:
        """The sample there and back."""
        name = f"{client.name}-{mode}-{server.url('').encode().hex()}.bin"  # others may run now
        sample = Sample.make(server.root / name, SIZE_BYTES)
        return [
            move(CLIENTS[program], client, server, sample, mode=mode, family=family, timeout_s=6)
            for move in (download, upload)
        ]

    def all_ways(self, client: Host, server: FtpServer, ways: list[tuple[Mode, Family]]) -> None:
        """Every way works, one after the other."""
        for mode, family in ways:
            for transfer in self.move(client, server, mode, family):
                assert transfer.ok, f"{mode} over IPv{family}: {transfer}"
        wait_for("the end", lambda: self.gateway.call("status")["sessions"]["now"] == 0)
        assert not opened(self.gateway)

    def flows(self, family: Family, *filters: str) -> list[tuple[dict[str, str], dict[str, str]]]:
        """What conntrack knows of the last flows: original direction, reply direction."""
        listing = self.gateway.host.run(
            ["conntrack", "-L", "-f", f"ipv{family}", "-p", "tcp", *filters]
        ).stdout
        found = []
        for line in listing.splitlines():
            pairs = re.findall(r"\b(src|dst|sport|dport)=(\S+)", line)
            found.append((dict(pairs[:4]), dict(pairs[4:])))
        return found

    def forget(self) -> None:
        self.gateway.host.run(["conntrack", "-F"])


@pytest.fixture(scope="module")
def nat_lab(lab: Callable[[LabOptions], Lab], require_program: Callable[[str], str]) -> Lab:
    for program in ("vsftpd", "curl", "lftp", "conntrack", "openssl"):
        require_program(program)
    return lab(LabOptions(second_wan_address=True))


@pytest.fixture(scope="module")
def servers(nat_lab: Lab) -> tuple[FtpServer, FtpServer]:
    """One outside, one inside."""
    return (
        vsftpd(nat_lab.servers[0], nat_lab.directory / "outside"),
        vsftpd(nat_lab.clients[1], nat_lab.directory / "inside"),
    )


@pytest.fixture
def nat(nat_lab: Lab, servers: tuple[FtpServer, FtpServer], tmp_path: Path) -> Iterator[Nat]:
    with scene.gateway(nat_lab, tmp_path) as gateway:
        yield Nat(nat_lab, gateway, *servers)


# --- source translation ---------------------------------------------------------------------------


def test_a_second_address_with_a_range_of_ports(nat: Nat) -> None:
    nat.up(
        ZONES + MASQUERADE + f'ipv4 = "snat"\nipv4_address = "{SECOND4}"\n'
        'ipv4_ports = "30000-30999"\n'
    )
    nat.forget()
    nat.all_ways(nat.lab.clients[0], nat.outside, WAYS)
    outward = [
        (original, reply)
        for original, reply in nat.flows(4, "-s", "10.1.0.2", "-d", nat.outside.host.address4)
        if reply["dst"] != "10.1.0.2"  # the client's leg of the relay is not translated
    ]
    assert len(outward) > 8  # control and passive data connections
    for _, reply in outward:
        assert reply["dst"] == SECOND4
        assert 30000 <= int(reply["dport"]) <= 30999
    inward = nat.flows(4, "-s", nat.outside.host.address4)
    assert len(inward) == 4  # PORT and EPRT, there and back
    for original, reply in inward:
        assert (original["dst"], reply["src"]) == (SECOND4, "10.1.0.2")
        assert 20480 <= int(original["dport"]) <= 28671


def test_masquerading_with_random_ports_by_a_rule_of_ones_own(nat: Nat) -> None:
    nat.gateway.rules("postrouting", 'oifname "wan0" meta l4proto tcp masquerade random\n')
    nat.up(ZONES + MASQUERADE)
    nat.forget()
    nat.all_ways(nat.lab.clients[0], nat.outside, WAYS[:4])
    flows = nat.flows(4, "-s", "10.1.0.2", "-d", nat.outside.host.address4)
    outward = [(original, reply) for original, reply in flows if reply["dst"] == PUBLIC4]
    assert len(outward) > 8
    assert any(original["sport"] != reply["dport"] for original, reply in outward)


def test_ipv6_behind_the_address_of_the_interface(nat: Nat) -> None:
    nat.up(ZONES + MASQUERADE + 'ipv6 = "masquerade"\n')
    nat.forget()
    with nat.gateway.host.capture("wan0", "ip6 and net fd01::/64") as leaked:
        nat.all_ways(nat.lab.clients[0], nat.outside, [("epsv", 6), ("eprt", 6)])
    assert nat.gateway.host.run(["tcpdump", "-nr", leaked]).stdout == ""
    inward = nat.flows(6, "-s", nat.outside.host.address6)
    assert [(original["dst"], reply["src"]) for original, reply in inward] == [
        (PUBLIC6, "fd01::2")
    ] * 2


def test_ipv6_behind_another_address(nat: Nat) -> None:
    nat.up(ZONES + MASQUERADE + 'ipv6 = "snat"\nipv6_address = "fd02::2"\n')
    nat.all_ways(nat.lab.clients[0], nat.outside, [("epsv", 6), ("eprt", 6), ("eprt", 4)])


def test_routed_ipv6_keeps_its_addresses(nat: Nat) -> None:
    nat.up(ZONES)
    nat.forget()
    nat.all_ways(nat.lab.clients[0], nat.outside, [("epsv", 6), ("eprt", 6)])
    for original, reply in nat.flows(6):
        assert (original["src"], original["dst"]) == (reply["dst"], reply["src"])
    assert nat.gateway.call("status")["bindings"]["opened"] == 0


def test_two_clients_with_the_same_port(nat: Nat) -> None:
    nat.up(ZONES + MASQUERADE)
    path, content = "same.bin", b"the same file for both\n"
    (nat.outside.root / path).write_bytes(content)
    address = nat.outside.host.address4
    listeners, controls = [], []
    for client in nat.lab.clients:
        own = client.address4
        listeners.append(client.call(partial(socket.create_server, (own, 50000))))
        controls.append(Control(client, address))
        controls[-1].login()
        assert controls[-1].say(f"PORT {port_argument(own, 50000)}").startswith("200")
    assert nat.gateway.call("status")["bindings"]["now"] == 2
    for control in controls:
        control.socket.sendall(f"RETR {path}\r\n".encode())
    for listener, control in zip(listeners, controls, strict=True):
        listener.settimeout(5)
        data, _ = listener.accept()
        with data, data.makefile("rb") as stream:
            assert stream.read() == content
        assert control.hear().startswith("150")
        assert control.hear().startswith("226")
        control.close()
        listener.close()


# --- published servers ----------------------------------------------------------------------------


@pytest.mark.parametrize("program", ["curl", "lftp", "ftplib"])
def test_a_published_server_from_outside(nat: Nat, program: str) -> None:
    """The server's own NAT is configured too: its active connections must not use it."""
    nat.up(ZONES + MASQUERADE + published())
    client, server = nat.lab.servers[1], reached(nat.inside)
    for mode, family in WAYS:
        if program == "lftp" and (mode, family) == ("eprt", 4):
            continue  # it cannot be told to
        for transfer in nat.move(client, server, mode, family, program):
            assert transfer.ok, f"{mode} over IPv{family}: {transfer}"


def test_a_published_server_calls_back_from_the_address_that_was_dialled(nat: Nat) -> None:
    """Though the translation of its zone has another one for it."""
    nat.up(ZONES + MASQUERADE + f'ipv4 = "snat"\nipv4_address = "{SECOND4}"\n' + published())
    nat.forget()
    client = nat.lab.servers[1]
    nat.all_ways(client, reached(nat.inside), [("port", 4), ("eprt", 4)])
    back = nat.flows(4, "-s", SERVER4, "-d", client.address4)
    assert [reply["dst"] for _, reply in back] == [PUBLIC4] * 4


@pytest.mark.parametrize("flag", ["--ftp-skip-pasv-ip", "--no-ftp-skip-pasv-ip"])
def test_the_227_of_a_published_server_suits_who_believes_it_and_who_does_not(
    nat: Nat, flag: str
) -> None:
    nat.up(ZONES + MASQUERADE + published())
    sample = Sample.make(nat.inside.root / "believe.bin", SIZE_BYTES)
    client = nat.lab.servers[1]
    target = client.directory / "believe.bin"
    url = reached(nat.inside).url("believe.bin")
    client.run(["curl", "-sS", "-m", "6", "--disable-epsv", flag, "-o", target, url])
    assert target.read_bytes() == sample.path.read_bytes()


def test_a_published_server_on_another_port_and_address(nat: Nat) -> None:
    nat.up(
        ZONES
        + MASQUERADE
        + published()
        + published(SECOND4, "fd02::2", port=2100)
        + "\n[helpers.ftp]\nports = [21, 2100]\n"
    )
    second = reached(nat.inside, at4=SECOND4, at6="fd02::2", port=2100)
    nat.all_ways(nat.lab.servers[1], second, WAYS)
    nat.all_ways(nat.lab.servers[1], reached(nat.inside), WAYS[:1])


def test_the_same_server_under_two_addresses_at_once(nat: Nat) -> None:
    nat.up(ZONES + MASQUERADE + published() + published(SECOND4, "fd02::2"))
    both = [reached(nat.inside), reached(nat.inside, at4=SECOND4, at6="fd02::2")]
    with ThreadPoolExecutor(4) as pool:
        tries = [
            pool.submit(nat.move, client, server, mode, 4)
            for server in both
            for client, mode in zip(
                nat.lab.servers, cast("list[Mode]", ["pasv", "port"]), strict=True
            )
        ]
    for each in tries:
        assert all(transfer.ok for transfer in each.result()), each.result()


def test_a_published_server_is_reached_from_its_own_network(nat: Nat) -> None:
    """Hairpin: the server must answer through the gateway, data connections included."""
    nat.up(ZONES + MASQUERADE + published())
    nat.forget()
    with nat.inside.host.capture("eth0", "tcp and src 10.1.0.2") as direct:
        nat.all_ways(nat.lab.clients[0], reached(nat.inside), WAYS)
    assert nat.inside.host.run(["tcpdump", "-nr", direct]).stdout == ""


def test_a_server_reaches_itself_under_its_public_address(nat: Nat) -> None:
    nat.up(ZONES + MASQUERADE + published())
    nat.all_ways(nat.inside.host, reached(nat.inside), WAYS)


# --- three zones ----------------------------------------------------------------------------------

DMZ = """
[zones.dmz]
interfaces = ["dmz0"]
networks = ["10.2.0.0/24", "fd03::/64"]
"""
DMZ4, DMZ6 = "10.2.0.3", "fd03::3"


@pytest.fixture
def dmz(nat: Nat) -> Iterator[Nat]:
    """The server inside has addresses in a third network, behind an interface of its own."""
    gateway, server = nat.gateway.host, nat.inside.host
    for host, link, name, four, six in (
        (gateway, "lan0", "dmz0", "10.2.0.1/24", "fd03::1/64"),
        (server, "eth0", "dmz0", f"{DMZ4}/24", f"{DMZ6}/64"),
    ):
        host.run(["ip", "link", "add", name, "link", link, "type", "macvlan", "mode", "bridge"])
        host.run(["ip", "addr", "add", four, "dev", name])
        host.run(["ip", "addr", "add", six, "dev", name, "nodad"])
        host.run(["ip", "link", "set", name, "up"])
    for ip, own, way in (("-4", DMZ4, "10.2.0.1"), ("-6", DMZ6, "fd03::1")):
        server.run(["ip", ip, "rule", "add", "from", own, "lookup", "100"])
        server.run(["ip", ip, "route", "add", "default", "via", way, "table", "100"])
    for host in (*nat.lab.servers,):
        host.run(["ip", "-6", "route", "add", "fd03::/64", "via", PUBLIC6])
    yield nat
    for host in (*nat.lab.servers,):
        host.run(["ip", "-6", "route", "del", "fd03::/64"])
    for ip, own in (("-4", DMZ4), ("-6", DMZ6)):
        server.run(["ip", ip, "rule", "del", "from", own])
    for host in (gateway, server):
        host.run(["ip", "link", "del", "dmz0"])


def test_from_one_zone_to_another_without_translation(dmz: Nat) -> None:
    allow = '\n[[allow]]\nfrom = "inside"\nto = "dmz"\nservices = ["tcp/21"]\n'
    dmz.up(ZONES + DMZ + allow + MASQUERADE)
    dmz.all_ways(dmz.lab.clients[0], reached(dmz.inside, at4=DMZ4, at6=DMZ6), WAYS)
    assert dmz.gateway.call("status")["bindings"]["opened"] == 0


@pytest.mark.parametrize("who", ["inside", "outside"])
@pytest.mark.parametrize("hidden", [False, True])
def test_a_published_server_in_a_third_zone(dmz: Nat, who: str, hidden: bool) -> None:
    """Clients of both other zones dial its public address; `hidden`: those inside are masqueraded
    towards it too."""
    text = ZONES + DMZ + MASQUERADE
    text += published().replace(SERVER4, DMZ4).replace(SERVER6, DMZ6)
    text += '\n[[nat]]\nfrom = "dmz"\nto = "outside"\n'
    if hidden:
        text += '\n[[nat]]\nfrom = "inside"\nto = "dmz"\nipv6 = "masquerade"\n'
    dmz.up(text)
    client = dmz.lab.clients[0] if who == "inside" else dmz.lab.servers[1]
    dmz.all_ways(client, reached(dmz.inside), WAYS)


# --- encrypted control connections ----------------------------------------------------------------


def test_what_is_encrypted_is_not_read_and_opens_nothing(nat: Nat) -> None:
    """RFC 4217: after AUTH TLS nobody but the two ends can know the data ports."""
    nat.up(ZONES + MASQUERADE)
    host = nat.lab.servers[1]
    key, certificate = host.directory / "key.pem", host.directory / "certificate.pem"
    make = ["openssl", "req", "-x509", "-nodes", "-newkey", "rsa:2048", "-subj", "/CN=lab"]
    host.run([*make, "-keyout", key, "-out", certificate])
    tls = vsftpd(
        host,
        nat.lab.directory / "tls",
        ssl_enable="YES",
        allow_anon_ssl="YES",
        rsa_cert_file=str(certificate),
        rsa_private_key_file=str(key),
        require_ssl_reuse="NO",
        ssl_ciphers="HIGH",
    )
    Sample.make(tls.root / "secret.bin", 1000)
    client = nat.lab.clients[0]
    fetch = ["curl", "-sS", "-k", "--ssl-reqd", "-m", "4", tls.url("secret.bin")]
    running = client.start([*fetch, "-o", str(client.directory / "secret.bin")])
    wait_for(
        "the session to go unread",
        lambda: any(each["opaque"] for each in nat.gateway.call("sessions")["sessions"]),
    )
    assert "unread" in nat.gateway.fwlb("sessions").stdout
    assert not opened(nat.gateway)
    assert running.wait(10) == 28  # no data connection
    status = nat.gateway.call("status")
    assert status["sessions"]["went_opaque"] == 1
    assert status["pinholes"]["opened"] == 0
    assert sum(status["refusals"].values()) == 0  # nothing wrong: it is just not read
    # where the firewall lets data ports through, the session itself works
    nat.gateway.rules("forward", "tcp dport 40000-40100 accept\n")
    nat.gateway.fwlb("up", "--no-daemon")
    client.run([*fetch, "-o", "/dev/null"])
    tls.process.stop()
