"""Records FTP control connections between real programs: the transcripts beside this file.

Run as root in a network namespace of its own (addresses are added to `lo`, servers take port 21):

    ip netns add record-ftp
    ip netns exec record-ftp python tests/corpus/ftp/record.py tests/corpus/ftp
    ip netns del record-ftp

Client and server are 192.0.2.1 and .2, 2001:db8::1 and ::2, all in one namespace. The proxy between
them connects from the client's address, so that PORT and PASV work although nobody rewrites them.
Programs that are not in PATH are left out. Of each server one file is written.
"""

from __future__ import annotations

import contextlib
import ftplib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from select import select

CLIENT4, SERVER4 = "192.0.2.1", "192.0.2.2"
CLIENT6, SERVER6 = "2001:db8::1", "2001:db8::2"
PROXY_PORT = 2121
FILE_BYTES = 16 * 1024 * 1024
Chunks = list[tuple[str, str]]

VSFTPD = """
listen=NO
listen_ipv6=YES
background=NO
anonymous_enable=YES
local_enable=NO
no_anon_password=YES
anon_root={root}
write_enable=YES
anon_upload_enable=YES
anon_mkdir_write_enable=YES
secure_chroot_dir={scratch}/empty
seccomp_sandbox=NO
xferlog_enable=NO
async_abor_enable=YES
ssl_enable=YES
allow_anon_ssl=YES
force_anon_logins_ssl=NO
force_anon_data_ssl=NO
require_ssl_reuse=NO
rsa_cert_file={scratch}/cert.pem
"""

PROFTPD = """
ServerName record
ServerType standalone
DefaultServer on
UseIPv6 on
User nobody
Group nogroup
PidFile {scratch}/proftpd.pid
ScoreboardFile {scratch}/proftpd.score
SystemLog none
WtmpLog off
UseReverseDNS off
RequireValidShell off
AuthOrder mod_auth_file.c mod_auth_unix.c
AllowOverwrite on
AllowForeignAddress on
<Anonymous {root}>
  User ftp
  Group nogroup
  UserAlias anonymous ftp
  <Limit LOGIN>
    AllowAll
  </Limit>
</Anonymous>
"""


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def prepare_addresses() -> None:
    links = run("ip", "-br", "link", "show", "up")
    if any(not line.startswith("lo ") for line in links.splitlines()):
        sys.exit("this is no empty network namespace: see the first lines of this file")
    run("ip", "link", "set", "lo", "up")
    for address in (CLIENT4, SERVER4, CLIENT6, SERVER6):
        prefix_length = "128" if ":" in address else "32"
        run("ip", "address", "replace", f"{address}/{prefix_length}", "dev", "lo")
    for server, client in ((SERVER4, CLIENT4), (SERVER6, CLIENT6)):
        run("ip", "route", "replace", "table", "local", "local", server, "dev", "lo", "src", client)


class Recorder:
    """Listens on both server addresses and keeps what passes."""

    def __init__(self) -> None:
        self.sessions: list[Chunks] = []
        for address in (SERVER4, SERVER6):
            listener = socket.create_server(
                (address, PROXY_PORT), family=socket.AF_INET6 if ":" in address else socket.AF_INET
            )
            threading.Thread(target=self._accept, args=(listener, address), daemon=True).start()

    def _accept(self, listener: socket.socket, address: str) -> None:
        while True:
            near, peer = listener.accept()
            far = socket.create_connection((address, 21), source_address=(peer[0], 0))
            chunks: Chunks = []
            self.sessions.append(chunks)
            threading.Thread(target=self._relay, args=(near, far, chunks), daemon=True).start()

    def _relay(self, near: socket.socket, far: socket.socket, chunks: Chunks) -> None:
        for end in (near, far):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        with near, far, contextlib.suppress(ConnectionError):
            while True:
                for end in select([near, far], [], [])[0]:
                    data = end.recv(65536)
                    if not data:
                        return
                    chunks.append(("client" if end is near else "server", data.decode("latin-1")))
                    (far if end is near else near).sendall(data)


@contextlib.contextmanager
def serving(command: list[str]) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            time.sleep(0.05)
            with contextlib.suppress(OSError), socket.create_connection((SERVER4, 21), timeout=1):
                break
        else:
            sys.exit(f"{command[0]} does not listen")
        yield
    finally:
        process.terminate()
        process.wait()


def ftplib_session(host: str, passive: bool, abort: bool) -> None:
    ftp = ftplib.FTP(timeout=20)  # noqa: S321 - plain FTP is what is recorded here
    ftp.connect(host, PROXY_PORT, source_address=(CLIENT6 if ":" in host else CLIENT4, 0))
    ftp.login()
    ftp.set_pasv(passive)
    ftp.nlst()
    if abort:
        transfer = ftp.transfercmd("RETR file.bin")
        transfer.recv(1000)
        transfer.close()
        ftp.abort()
        with contextlib.suppress(ftplib.Error):
            ftp.voidresp()
    ftp.retrbinary("RETR small.txt", lambda _: None)
    with contextlib.suppress(ftplib.error_perm):
        ftp.retrbinary("RETR missing.txt", lambda _: None)
    ftp.quit()


def telnet_session(host: str) -> None:
    """By hand: commands in pieces, Telnet commands, STAT and ABOR during a transfer."""
    with socket.create_connection((host, PROXY_PORT), timeout=20) as control:
        replies = control.makefile("rb")

        def ask(*pieces: bytes) -> bytes:
            for piece in pieces:
                control.sendall(piece)
                time.sleep(0.02)
            line = b"-"
            while line and not (line[:3].isdigit() and line[3:4] == b" "):
                line = replies.readline()
            return line

        ask(b"")
        ask(b"US", b"ER ano", b"nymous", b"\r\n")
        ask(b"PASS a@b\r\n")
        ask(b"STAT\r\n")
        ask(b"epsv all\r\n")
        ask(b"PASV\r\n")
        reply = ask(b"EPSV\r\n")
        port = int(reply.split(b"|||")[1].split(b"|")[0])
        with socket.create_connection((host, port)) as data:
            ask(b"RETR file.bin\r\n")
            data.recv(1000)
            control.sendall(b"\xff\xf4\xff")
            control.send(b"\xf2", socket.MSG_OOB)
            control.sendall(b"ABOR\r\n")
            time.sleep(0.3)  # some servers answer now, some when the data connection is gone
        time.sleep(0.5)
        control.sendall(b"NOOP\r\nQUIT\r\n")
        while replies.readline():
            pass


def program(*command: str) -> Callable[[], None]:
    def start() -> None:
        no_input = subprocess.DEVNULL
        subprocess.run(command, check=False, stdin=no_input, capture_output=True, timeout=15)

    return start


def clients() -> Iterator[tuple[str, bool, Callable[[], None]]]:
    """Name, whether it is IPv6, and how it is run."""
    url4 = f"ftp://{SERVER4}:{PROXY_PORT}"
    url6 = f"ftp://[{SERVER6}]:{PROXY_PORT}"
    curl = ("curl", "-sS", "-o", "/dev/null", "--max-time", "20")
    from4, from6 = ("--interface", CLIENT4), ("--interface", CLIENT6)
    file4, file6 = f"{url4}/small.txt", f"{url6}/small.txt"
    yield "curl EPSV", False, program(*curl, *from4, file4)
    yield "curl PASV", False, program(*curl, *from4, "--disable-epsv", file4)
    yield "curl EPRT", False, program(*curl, "-P", CLIENT4, file4)
    yield "curl PORT", False, program(*curl, "-P", CLIENT4, "--disable-eprt", file4)
    yield "curl list", False, program(*curl, *from4, f"{url4}/")
    yield "curl upload", False, program(*curl, *from4, "-T", __file__, f"{url4}/upload/")
    yield "curl missing", False, program(*curl, *from4, f"{url4}/missing")
    yield "curl AUTH TLS", False, program(*curl, *from4, "--ssl-reqd", "-k", file4)
    yield "curl EPSV", True, program(*curl, *from6, file6)
    yield "curl EPRT", True, program(*curl, "-P", CLIENT6, file6)
    lftp = f"set net:socket-bind-ipv4 {CLIENT4}; set net:socket-bind-ipv6 {CLIENT6}; "
    lftp += "set net:max-retries 1; set net:timeout 4; set ftp:ssl-allow no; set cmd:fail-exit no;"
    work = "cls; cat small.txt; get missing.txt; get file.bin -o /dev/full; cat small.txt; bye"
    for name, options in (
        ("lftp passive", ""),
        ("lftp active", "set ftp:passive-mode no;"),
        ("lftp pipelined", "set ftp:sync-mode no;"),
        ("lftp pipelined active", "set ftp:sync-mode no; set ftp:passive-mode no;"),
    ):
        for is_v6, url in ((False, url4), (True, url6)):
            script = f"{lftp}{options} open {url}; {work}"
            yield name, is_v6, program("lftp", "-c", script)
    for name, mode in (("tnftp passive", "-p"), ("tnftp active", "-A")):
        yield name, False, program("tnftp", mode, "-s", CLIENT4, "-o", "/dev/null", file4)
        yield name, True, program("tnftp", mode, "-s", CLIENT6, "-o", "/dev/null", file6)
    yield "wget passive", False, program("wget", "-q", "-O", "/dev/null", file4)
    for is_v6, host in ((False, SERVER4), (True, SERVER6)):
        for name, passive in (("ftplib passive", True), ("ftplib active", False)):
            yield (
                name,
                is_v6,
                partial(ftplib_session, host, passive, abort=False),
            )
    yield "ftplib abort", False, lambda: ftplib_session(SERVER4, passive=True, abort=True)
    yield "telnet", False, lambda: telnet_session(SERVER4)


def servers(scratch: Path, root: Path) -> Iterator[tuple[str, list[str]]]:
    for name, text in (("vsftpd", VSFTPD), ("proftpd", PROFTPD)):
        (scratch / f"{name}.conf").write_text(text.format(scratch=scratch, root=root))
    vsftpd = shutil.which("vsftpd") or "vsftpd"
    yield "vsftpd", [vsftpd, str(scratch / "vsftpd.conf")]
    yield (
        "pyftpdlib",
        [sys.executable, "-m", "pyftpdlib", "-i", "::", "-p", "21", "-w", "-d", str(root)],
    )
    yield "proftpd", ["proftpd", "-n", "-c", str(scratch / "proftpd.conf")]
    # pure-ftpd serves the home directory of the user ftp, so that is where the files have to be
    yield "pure-ftpd", ["pure-ftpd", "-e", "-H", "-i", "-g", str(scratch / "pure-ftpd.pid")]


def prepare_files(scratch: Path) -> Path:
    (scratch / "empty").mkdir()
    root = scratch / "files"
    (root / "upload").mkdir(parents=True)
    (root / "upload").chmod(0o777)
    (root / "small.txt").write_text("small\n")
    (root / "file.bin").write_bytes(bytes(FILE_BYTES))
    for path in (scratch, scratch / "empty", root):
        path.chmod(0o755)
    pem = str(scratch / "cert.pem")
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=record",
        "-keyout", pem, "-out", pem)  # fmt: skip
    ftp_home = Path("~ftp").expanduser()
    if ftp_home.is_dir():  # `ip netns exec` gave us a mount namespace of our own
        run("mount", "--bind", str(root), str(ftp_home))
    return root


def record(recorder: Recorder) -> list[dict[str, object]]:
    transcripts: list[dict[str, object]] = []
    for name, is_v6, start in clients():
        already = len(recorder.sessions)
        try:
            start()
        except FileNotFoundError:
            continue
        except (OSError, EOFError, subprocess.TimeoutExpired, ftplib.Error) as error:
            print(f"  {name}: {error}")
        time.sleep(0.3)
        for number, chunks in enumerate(recorder.sessions[already:], 1):
            transcripts.append(
                {
                    "name": f"{name} {'IPv6' if is_v6 else 'IPv4'} {number}",
                    "client_addresses": [CLIENT6 if is_v6 else CLIENT4],
                    "server_addresses": [SERVER6 if is_v6 else SERVER4],
                    "chunks": list(chunks),
                }
            )
    return transcripts


def main() -> None:
    target = Path(sys.argv[1])
    prepare_addresses()
    recorder = Recorder()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        root = prepare_files(scratch)
        for server, command in servers(scratch, root):
            if shutil.which(command[0]) is None:
                continue
            print(server)
            with serving(command):
                recorder.sessions.clear()
                transcripts = record(recorder)
            lines = ",\n".join(map(json.dumps, transcripts))
            (target / f"{server}.json").write_text(f"[\n{lines}\n]\n")
        if Path("~ftp").expanduser().is_dir():
            run("umount", "-l", str(Path("~ftp").expanduser()))


if __name__ == "__main__":
    os.umask(0o022)
    main()
