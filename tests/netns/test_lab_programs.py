"""Real FTP servers and clients in the lab, with no firewall between them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fwlb.errors import LabError, MissingFeatureError
from fwlb.lab import Lab, LabOptions, programs
from fwlb.lab.programs import FtpServer
from fwlb.lab.transfers import CLIENTS, Family, Mode, Sample, curl, download, ftplib, lftp, upload

pytestmark = pytest.mark.netns

SIZE_BYTES = 300_000
WAYS: list[tuple[Family, Mode]] = [
    (4, "pasv"),
    (4, "epsv"),
    (4, "port"),
    (4, "eprt"),
    (6, "epsv"),
    (6, "eprt"),
]
PACKAGES = {"pure-ftpd": ["pure-ftpd"], "proftpd": ["proftpd-core"]}


@pytest.fixture(scope="module")
def open_lab(lab: Callable[[LabOptions], Lab]) -> Lab:
    """Two servers that know the way back: active FTP works without NAT."""
    return lab(LabOptions(clients=1, route_back4=True))


@pytest.fixture(scope="module", params=["vsftpd", "pyftpdlib", "pure-ftpd", "proftpd"])
def server(
    request: pytest.FixtureRequest,
    open_lab: Lab,
    require_program: Callable[[str], str],
    require_packages: Callable[..., None],
) -> Iterator[FtpServer]:
    """Each server in turn, on s1."""
    name = request.param
    if name == "vsftpd":
        require_program(name)
    if name in PACKAGES:
        require_packages(*PACKAGES[name])
    started = programs.SERVERS[name](open_lab.servers[0], open_lab.directory / name)
    yield started
    started.process.stop()


@pytest.fixture(scope="module")
def vsftpd(open_lab: Lab, require_program: Callable[[str], str]) -> FtpServer:
    """vsftpd on s2, which refuses EPSV."""
    require_program("vsftpd")
    root = open_lab.directory / "no-epsv"
    return programs.vsftpd(open_lab.servers[1], root, cmds_denied="EPSV", listen_port=2121)


@pytest.mark.parametrize(
    ("client", "family", "mode"),
    [
        (client, family, mode)
        for client in CLIENTS
        for family, mode in WAYS
        # lftp cannot be told to use EPRT with IPv4
        if (client, family, mode) != ("lftp", 4, "eprt")
    ],
)
def test_download_and_upload(
    open_lab: Lab,
    server: FtpServer,
    require_program: Callable[[str], str],
    client: str,
    family: Family,
    mode: Mode,
) -> None:
    if client != "ftplib":
        require_program(client)
    sample = Sample.make(server.root / "sample.bin", SIZE_BYTES)
    for move in (download, upload):
        transfer = move(
            CLIENTS[client], open_lab.clients[0], server, sample, mode=mode, family=family
        )
        assert transfer.ok, transfer
        assert (transfer.moved_bytes, transfer.exit_status) == (SIZE_BYTES, 0)
        assert any(command.startswith(mode.upper()) for command in transfer.commands)


class TestWhatCountsAsDone:
    """A transfer that only looks well is not `ok`."""

    @pytest.fixture
    def sample(self, vsftpd: FtpServer) -> Sample:
        return Sample.make(vsftpd.root / "sample.bin", SIZE_BYTES)

    def test_a_fallback_to_another_command_is_none(
        self,
        open_lab: Lab,
        vsftpd: FtpServer,
        sample: Sample,
        require_program: Callable[[str], str],
    ) -> None:
        require_program("curl")
        client = open_lab.clients[0]
        transfer = download(curl, client, vsftpd, sample, mode="epsv")
        assert (transfer.ok, transfer.exit_status) == (False, 0)
        assert transfer.message == "it used PASV instead of EPSV"
        assert transfer.moved_bytes == SIZE_BYTES
        assert download(curl, client, vsftpd, sample, mode="pasv").ok

    def test_other_bytes_are_not(self, open_lab: Lab, vsftpd: FtpServer, sample: Sample) -> None:
        other = dataclasses.replace(sample, sha256="0" * 64)
        transfer = download(ftplib, open_lab.clients[0], vsftpd, other, mode="pasv")
        assert not transfer.ok
        assert "others than were sent" in transfer.message

    def test_a_missing_file_is_not(self, open_lab: Lab, vsftpd: FtpServer, sample: Sample) -> None:
        gone = dataclasses.replace(sample, path=vsftpd.root / "gone.bin")
        transfer = download(ftplib, open_lab.clients[0], vsftpd, gone, mode="pasv")
        assert (transfer.ok, transfer.moved_bytes, transfer.exit_status) == (False, 0, 1)
        assert "550" in transfer.message

    def test_uploads_are_checked_at_the_server_and_removed(
        self, open_lab: Lab, vsftpd: FtpServer, sample: Sample
    ) -> None:
        transfer = upload(ftplib, open_lab.clients[0], vsftpd, sample, mode="port")
        assert transfer.ok, transfer
        assert list((vsftpd.root / programs.UPLOADS).iterdir()) == []
        other = dataclasses.replace(sample, sha256="0" * 64)
        assert not upload(ftplib, open_lab.clients[0], vsftpd, other, mode="port").ok

    @pytest.mark.parametrize("client", CLIENTS)
    def test_a_server_that_is_not_there_is_a_failed_transfer(
        self,
        open_lab: Lab,
        vsftpd: FtpServer,
        sample: Sample,
        require_program: Callable[[str], str],
        client: str,
    ) -> None:
        if client != "ftplib":
            require_program(client)
        nobody = dataclasses.replace(vsftpd, port=9)
        transfer = download(
            CLIENTS[client], open_lab.clients[0], nobody, sample, mode="pasv", timeout_s=1
        )
        assert (transfer.ok, transfer.commands) == (False, ())
        assert transfer.exit_status not in {0, None}

    def test_impossible_wishes_are_refused(
        self, open_lab: Lab, vsftpd: FtpServer, sample: Sample
    ) -> None:
        client = open_lab.clients[0]
        with pytest.raises(LabError, match="PASV cannot carry IPv6"):
            download(ftplib, client, vsftpd, sample, mode="pasv", family=6)
        with pytest.raises(LabError, match="lftp cannot be told to use EPRT with IPv4"):
            download(lftp, client, vsftpd, sample, mode="eprt")


def test_samples_differ_and_know_their_digest(tmp_path: Path) -> None:
    first, second = (Sample.make(tmp_path / name, 3_000_000) for name in "ab")
    assert first.path.stat().st_size == first.size_bytes == 3_000_000
    assert first.sha256 != second.sha256


def test_a_missing_program_is_named_with_its_package() -> None:
    with pytest.raises(MissingFeatureError, match=r"(?s)no-such.*apt-get install some-package"):
        programs.find_program("no-such", package="some-package")


def test_any_server_takes_the_first_that_is_installed(
    open_lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_here(*_: object) -> FtpServer:
        raise MissingFeatureError("not here")

    monkeypatch.setitem(programs.SERVERS, "vsftpd", not_here)
    client = open_lab.clients[0]
    server = programs.any_ftp_server(client, open_lab.directory / "any", ("vsftpd", "pyftpdlib"))
    assert server.name == "pyftpdlib"
    server.process.stop()
    with pytest.raises(MissingFeatureError, match="no FTP server is here"):
        programs.any_ftp_server(client, open_lab.directory / "any", ("vsftpd",))
