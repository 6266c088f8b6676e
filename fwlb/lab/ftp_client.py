"""An FTP client on Python's own ftplib that can be told which data command to use.

    python ftp_client.py ADDRESS PORT pasv|epsv|port|eprt TIMEOUT_S get|put REMOTE LOCAL

It says on stderr what it sends and receives, as `> PASV` and `< 227 ...`, like `curl --verbose`.
It is run by its file name and imports nothing of fwlb, so that it starts quickly.
"""

from __future__ import annotations

import ftplib
import sys
from pathlib import Path


class Client(ftplib.FTP):
    """FTP with `data_command` instead of ftplib's own choice, and a protocol trace."""

    data_command = "pasv"

    def putcmd(self, line: str) -> None:
        print(f"> {line}", file=sys.stderr)
        super().putcmd(line)

    def getresp(self) -> str:
        response = super().getresp()
        print(f"< {response}", file=sys.stderr)
        return response

    def makepasv(self) -> tuple[str, int]:
        """The server's endpoint, as announced: a 227 is believed (RFC 959), a 229 has only a
        port (RFC 2428)."""
        if self.data_command == "pasv":
            return ftplib.parse227(self.sendcmd("PASV"))  # noqa: S321 - FTP is the point here
        if self.sock is None:
            raise ConnectionError("not connected")
        return ftplib.parse229(self.sendcmd("EPSV"), self.sock.getpeername())  # noqa: S321

    def sendport(self, host: str, port: int) -> str:
        if self.data_command == "port":
            return super().sendport(host, port)
        return super().sendeprt(host, port)

    def sendeprt(self, host: str, port: int) -> str:
        return self.sendport(host, port)


def main(arguments: list[str]) -> int:
    address, port, data_command, timeout_s, verb, remote, local = arguments
    with Client(timeout=float(timeout_s)) as client:
        client.data_command = data_command
        client.connect(address, int(port))
        client.login()
        client.set_pasv(data_command in {"pasv", "epsv"})
        if verb == "get":
            with Path(local).open("wb") as sink:
                client.retrbinary(f"RETR {remote}", sink.write)
        else:
            with Path(local).open("rb") as source:
                client.storbinary(f"STOR {remote}", source)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (ftplib.Error, EOFError, OSError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
