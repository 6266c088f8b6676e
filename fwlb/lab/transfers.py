"""FTP transfers by real clients, each with the data command that it is told to use.

A transfer counts as done only when every byte arrived (SHA-256) *and* the client got there with
the wanted command: clients like to fall back silently from EPSV to PASV.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from fwlb.errors import LabError
from fwlb.lab.host import Host
from fwlb.lab.programs import UPLOADS, FtpServer

Mode = Literal["pasv", "epsv", "port", "eprt"]
"""The command that announces the data channel (RFC 959, RFC 2428)."""
Family = Literal[4, 6]

_DATA_COMMANDS = {"PASV", "EPSV", "PORT", "EPRT"}
_CHUNK_BYTES = 1 << 20
_GRACE_S = 3.0
"""How much longer than its own time-out a client may take to notice it."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A file of random bytes, and its SHA-256."""

    path: Path
    size_bytes: int
    sha256: str

    @classmethod
    def make(cls, path: Path, size_bytes: int) -> Sample:
        """Write the file. Everybody may read it."""
        with path.open("wb") as file:
            left = size_bytes
            while left:
                left -= file.write(os.urandom(min(left, _CHUNK_BYTES)))
        path.chmod(0o644)
        return cls(path, size_bytes, sha256_of(path))


@dataclass(frozen=True, slots=True)
class Transfer:
    """What came of one transfer. `exit_status` is the client's, None when it had to be killed;
    `commands` are the FTP commands that it sent; `message` is what it said last."""

    ok: bool
    moved_bytes: int
    elapsed_s: float
    exit_status: int | None
    commands: tuple[str, ...]
    message: str


@dataclass(frozen=True, slots=True)
class Errand:
    """One file to get from `url` into `file`, or (`upload`) to put there from it."""

    url: str
    file: Path
    mode: Mode
    upload: bool
    timeout_s: float


@dataclass(frozen=True, slots=True)
class _Trace:
    """How a client marks what it sent and received on stderr."""

    sent: str
    received: str


_CURL = _Trace("> ", "< ")
_LFTP = _Trace("---> ", "<--- ")

FtpClient = Callable[[Host, Errand], Transfer]
"""Runs a client program. `ok` says that it ended well with the wanted data command; nobody has
looked at the file yet."""


def curl(host: Host, errand: Errand) -> Transfer:
    """curl. It trusts the address in a 227 and falls back from EPSV to PASV, EPRT to PORT."""
    flags = {
        "pasv": ["--disable-epsv", "--no-ftp-skip-pasv-ip"],
        "epsv": ["--ftp-pasv"],
        "port": ["--ftp-port", "-", "--disable-eprt"],
        "eprt": ["--ftp-port", "-"],
    }[errand.mode]
    file = ["--upload-file" if errand.upload else "--output", str(errand.file)]
    limit = ["--max-time", f"{errand.timeout_s:g}"]
    talk = ["--silent", "--show-error", "--verbose"]
    return _run(host, errand, ["curl", *talk, *limit, *flags, *file, errand.url], _CURL)


def lftp(host: Host, errand: Errand) -> Transfer:
    """lftp. It uses EPRT with IPv6 only."""
    server, _, path = errand.url.removeprefix("ftp://").partition("/")
    if errand.mode == "eprt" and not server.startswith("["):
        raise LabError("lftp cannot be told to use EPRT with IPv4", hint="use IPv6, or curl")
    passive = errand.mode in {"pasv", "epsv"}
    script = [
        f"set net:timeout {errand.timeout_s:g}; set net:max-retries 1; set cmd:fail-exit true",
        f"set ftp:passive-mode {passive}; set ftp:prefer-epsv {errand.mode == 'epsv'}",
        "set ftp:fix-pasv-address false; set ftp:ssl-allow false",
        f"put '{errand.file}' -o '{path}'" if errand.upload else f"get '{path}' -o '{errand.file}'",
        "bye",
    ]
    args = ["lftp", "--norc", "-d", "-e", "; ".join(script), f"ftp://{server}"]
    # it keeps a history in the home directory
    return _run(host, errand, args, _LFTP, env={"HOME": str(errand.file.parent)})


def ftplib(host: Host, errand: Errand) -> Transfer:
    """Python's ftplib, with any data command."""
    server, _, path = errand.url.removeprefix("ftp://").partition("/")
    address, _, port = server.rpartition(":")
    script = Path(__file__).with_name("ftp_client.py")
    where = [address.strip("[]"), port, errand.mode, f"{errand.timeout_s:g}"]
    what = ["put" if errand.upload else "get", path, errand.file]
    return _run(host, errand, [sys.executable, "-I", script, *where, *what], _CURL)


CLIENTS: dict[str, FtpClient] = {"curl": curl, "lftp": lftp, "ftplib": ftplib}
"""Every client by name."""


def download(
    client: FtpClient,
    host: Host,
    server: FtpServer,
    sample: Sample,
    *,
    mode: Mode,
    family: Family = 4,
    timeout_s: float = 10.0,
) -> Transfer:
    """Get `sample`, which lies in the server's root, and check every byte."""
    with tempfile.TemporaryDirectory(dir=host.directory) as scratch:
        target = Path(scratch) / sample.path.name
        path = str(sample.path.relative_to(server.root))
        errand = Errand(server.url(path, family), target, mode, False, timeout_s)
        return _checked(client(host, errand), target, sample)


def upload(
    client: FtpClient,
    host: Host,
    server: FtpServer,
    sample: Sample,
    *,
    mode: Mode,
    family: Family = 4,
    timeout_s: float = 10.0,
) -> Transfer:
    """Put `sample` into the server's upload directory, check every byte there, and remove it."""
    with tempfile.NamedTemporaryFile(dir=server.root / UPLOADS, prefix="upload-") as reserved:
        target = Path(reserved.name)
    path = f"{UPLOADS}/{target.name}"
    try:
        errand = Errand(server.url(path, family), sample.path, mode, True, timeout_s)
        return _checked(client(host, errand), target, sample)
    finally:
        target.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _checked(transfer: Transfer, arrived: Path, sample: Sample) -> Transfer:
    size_bytes = arrived.stat().st_size if arrived.exists() else 0
    transfer = replace(transfer, moved_bytes=size_bytes)
    if transfer.ok and (size_bytes == 0 or sha256_of(arrived) != sample.sha256):
        message = f"{size_bytes} of {sample.size_bytes} bytes arrived, or others than were sent"
        return replace(transfer, ok=False, message=message)
    return transfer


def _run(
    host: Host,
    errand: Errand,
    args: Sequence[str | Path],
    trace: _Trace,
    *,
    env: Mapping[str, str] | None = None,
) -> Transfer:
    if errand.mode in {"pasv", "port"} and "[" in errand.url:
        raise LabError(f"{errand.mode.upper()} cannot carry IPv6 addresses (RFC 2428 section 1)")
    began = time.monotonic()
    try:
        done = host.run(args, timeout_s=errand.timeout_s + _GRACE_S, check=False, env=env)
    except LabError as error:
        return Transfer(False, 0, time.monotonic() - began, None, (), error.message)
    elapsed_s = time.monotonic() - began
    lines = done.stderr.splitlines()
    commands = tuple(line[len(trace.sent) :] for line in lines if line.startswith(trace.sent))
    words = [command.partition(" ")[0].upper() for command in commands]
    used = [word for word in words if word in _DATA_COMMANDS][-1:]
    wanted = errand.mode.upper()
    ok = done.returncode == 0 and used == [wanted]
    if done.returncode == 0 and not ok:
        message = f"it used {used[0] if used else 'nothing'} instead of {wanted}"
    elif not ok and elapsed_s >= errand.timeout_s:
        message = "timed out"
    else:
        message = _last_message(lines, trace)
    return Transfer(ok, 0, elapsed_s, done.returncode, commands, message)


def _last_message(lines: list[str], trace: _Trace) -> str:
    """What the server refused (RFC 959 section 4.2: 4yz, 5yz), else what the client said last."""
    answers = [line[len(trace.received) :] for line in lines if line.startswith(trace.received)]
    refusals = [answer for answer in answers if answer[:1] in {"4", "5"}]
    said = refusals or lines
    return said[-1].strip() if said else ""
