"""Real FTP servers for the lab, each as one function that starts it and waits until it listens.

All of them serve `root` to anonymous users, who may write into `root/upload`. Passive ports are
40000-40100 unless said otherwise.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fwlb.errors import LabError, MissingFeatureError
from fwlb.lab.host import Host
from fwlb.lab.packages import fetch
from fwlb.lab.process import Listening, Process

UPLOADS = "upload"
"""The directory, below the root, that anonymous users may write to."""
PASSIVE_PORTS = (40000, 40100)
"""First and last port for passive data connections."""

_FTP_USER = "ftp"
_PORT = 21


@dataclass(frozen=True, slots=True)
class FtpServer:
    """A running FTP server and the directory that it serves."""

    name: str
    host: Host
    root: Path
    process: Process
    port: int = _PORT

    def url(self, path: str, family: Literal[4, 6] = 4) -> str:
        """URL of a file below the root, by the server's address of that family."""
        address = self.host.address(family)
        return f"ftp://{f'[{address}]' if family == 6 else address}:{self.port}/{path}"


def find_program(name: str, *, package: str | None = None) -> str:
    """Path of an installed program; MissingFeatureError names the package to install."""
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is None:
        hint = f"install it: apt-get install {package or name}"
        raise MissingFeatureError(f"the program {name} is not here", hint=hint)
    return path


def vsftpd(host: Host, root: Path, **options: str | int) -> FtpServer:
    """vsftpd 3. `options` are settings of vsftpd.conf(5) that replace those chosen here."""
    program = find_program("vsftpd")
    _prepare(root)
    empty = host.directory / "empty"
    empty.mkdir(exist_ok=True)
    settings: dict[str, str | int] = {
        "listen": "NO",
        "listen_ipv6": "YES",  # takes IPv4 as well
        "background": "NO",
        "anonymous_enable": "YES",
        "no_anon_password": "YES",
        "anon_root": str(root),
        "anon_upload_enable": "YES",
        "write_enable": "YES",
        "connect_from_port_20": "YES",
        "pasv_min_port": PASSIVE_PORTS[0],
        "pasv_max_port": PASSIVE_PORTS[1],
        "secure_chroot_dir": str(empty),
        "seccomp_sandbox": "NO",  # its filter kills the session on some kernels
        "listen_port": _PORT,
        **options,
    }
    lines = "".join(f"{key}={value}\n" for key, value in settings.items())
    config = _config_file(host, "vsftpd.conf", lines)
    port = int(settings["listen_port"])
    process = host.start([program, config], ready=Listening(port))
    return FtpServer("vsftpd", host, root, process, port)


def pyftpdlib(host: Host, root: Path) -> FtpServer:
    """pyftpdlib, of this Python. MissingFeatureError when it is not installed."""
    if importlib.util.find_spec("pyftpdlib") is None:
        raise MissingFeatureError("pyftpdlib is not here", hint="pip install pyftpdlib")
    _prepare(root)
    first, last = PASSIVE_PORTS
    serve = ["-p", str(_PORT), "-r", f"{first}-{last}", "-d", str(root), "--write"]
    args = [sys.executable, "-m", "pyftpdlib", "-i", "::", *serve]
    process = host.start(args, ready=Listening(_PORT))
    return FtpServer("pyftpdlib", host, root, process)


def pureftpd(host: Host, root: Path) -> FtpServer:
    """pure-ftpd, unpacked beside the system. Its anonymous users always live in the home
    directory of user `ftp`, so `root` is mounted there, in a mount namespace of its own."""
    unpacked = fetch(["pure-ftpd"])
    _prepare(root)
    home = _ftp_home()
    first, last = PASSIVE_PORTS
    mount = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
    enter = ["unshare", "--mount", "--propagation", "private"]
    move_in = ["sh", "-c", mount, "sh", str(root), str(home), str(unpacked.program("pure-ftpd"))]
    serve = ["-e", "-H", "-p", f"{first}:{last}", "-g", str(host.directory / "pure-ftpd.pid")]
    process = host.start(
        [*enter, *move_in, *serve],
        ready=Listening(_PORT),
        env=unpacked.environment,
    )
    return FtpServer("pure-ftpd", host, root, process)


def proftpd(host: Host, root: Path) -> FtpServer:
    """proftpd, unpacked beside the system."""
    unpacked = fetch(["proftpd-core"])
    _prepare(root)
    state = host.directory / "proftpd"  # proftpd refuses a directory that others may write to
    state.mkdir(mode=0o755, exist_ok=True)
    config = _config_file(host, "proftpd.conf", _proftpd_config(root, state))
    process = host.start(
        [unpacked.program("proftpd"), "--nodaemon", "--config", config],
        ready=Listening(_PORT),
        env=unpacked.environment,
    )
    return FtpServer("proftpd", host, root, process)


SERVERS: dict[str, Callable[[Host, Path], FtpServer]] = {
    "vsftpd": vsftpd,
    "pyftpdlib": pyftpdlib,
    "pure-ftpd": pureftpd,
    "proftpd": proftpd,
}
"""Every server by name."""


def any_ftp_server(host: Host, root: Path, names: Sequence[str]) -> FtpServer:
    """The first of `names` that is installed here."""
    for name in names:
        try:
            return SERVERS[name](host, root)
        except MissingFeatureError:
            continue
    raise MissingFeatureError(
        f"no FTP server is here (looked for {', '.join(names)})",
        hint="install one: apt-get install vsftpd, or pip install pyftpdlib",
    )


def _proftpd_config(root: Path, state: Path) -> str:
    first, last = PASSIVE_PORTS
    return f"""\
ServerName lab
ServerType standalone
DefaultServer on
UseIPv6 on
Port {_PORT}
User nobody
Group nogroup
PidFile {state}/proftpd.pid
ScoreboardFile {state}/proftpd.score
SystemLog {state}/proftpd.log
WtmpLog off
UseReverseDNS off
UseFtpUsers off
RequireValidShell off
PassivePorts {first} {last}
AuthOrder mod_auth_file.c mod_auth_unix.c
<Anonymous {root}>
  User {_FTP_USER}
  Group nogroup
  UserAlias anonymous {_FTP_USER}
</Anonymous>
"""


def _prepare(root: Path) -> None:
    """Make `root` (nobody may write to it: vsftpd insists) and its upload directory."""
    root.mkdir(parents=True, exist_ok=True)
    root.chmod(0o755)
    uploads = root / UPLOADS
    uploads.mkdir(exist_ok=True)
    uploads.chmod(0o777)


def _config_file(host: Host, name: str, content: str) -> Path:
    path = host.directory / f"{host.name}-{name}"
    path.write_text(content)
    return path


def _ftp_home() -> Path:
    try:
        home = Path(pwd.getpwnam(_FTP_USER).pw_dir)
    except KeyError:
        raise LabError(
            f"there is no user {_FTP_USER} on this machine, whom FTP servers work as",
            hint=f"useradd --system --create-home {_FTP_USER}, or apt-get install vsftpd",
        ) from None
    if not home.is_dir():
        raise LabError(f"{home}, the home of user {_FTP_USER}, does not exist", hint="create it")
    return home
