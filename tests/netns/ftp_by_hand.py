"""Both ends of FTP control connections by hand, for what no real program would send."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Literal, Self

from fwlb.lab import Host

TIMEOUT_S = 10.0


class Control:
    """A client's end of a control connection, in `host`."""

    def __init__(self, host: Host, address: str, port: int = 21) -> None:
        self.host = host
        self.socket = host.call(lambda: socket.create_connection((address, port), TIMEOUT_S))
        self._lines = self.socket.makefile("rb")

    @property
    def own_port(self) -> int:
        port: int = self.socket.getsockname()[1]
        return port

    def hear(self) -> str:
        """The next whole reply; empty when the server has hung up."""
        text = ""
        while line := self._lines.readline().decode("latin-1"):
            text += line
            if line[:3].isdigit() and line[3:4] == " ":
                return text.strip()
        return text

    def say(self, command: str) -> str:
        """Send a command; returns its reply."""
        self.socket.sendall(f"{command}\r\n".encode("latin-1"))
        return self.hear()

    def login(self) -> None:
        assert self.hear().startswith("220")
        assert self.say("USER anonymous")[:3] in {"230", "331"}
        assert self.say("PASS x").startswith("230")

    def rest(self) -> bytes:
        """Everything until the server hangs up; ConnectionResetError when it breaks off."""
        return self._lines.read()

    def close(self) -> None:
        self._lines.close()
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Download:
    """A download that has begun, and whose bytes come as they are asked for. `control` has logged
    in and must not be used until `finish`."""

    def __init__(self, control: Control, path: str, mode: Literal["pasv", "port"]) -> None:
        self._control = control
        peer = control.socket.getpeername()[0]
        if mode == "pasv":
            port = port_of(control.say("PASV"))
            self._data = control.host.call(
                lambda: socket.create_connection((peer, port), TIMEOUT_S)
            )
            control.socket.sendall(f"RETR {path}\r\n".encode())
        else:
            own = control.socket.getsockname()[0]
            listener = control.host.call(lambda: socket.create_server((own, 0)))
            with listener:
                listener.settimeout(TIMEOUT_S)
                port = listener.getsockname()[1]
                assert control.say(f"PORT {port_argument(own, port)}").startswith("200")
                control.socket.sendall(f"RETR {path}\r\n".encode())
                self._data, _ = listener.accept()
        self._data.settimeout(TIMEOUT_S)
        assert control.hear().startswith("150")

    def read(self, size_bytes: int) -> bytes:
        """So many bytes, or fewer at the end."""
        data = bytearray()
        while len(data) < size_bytes and (
            piece := self._data.recv(min(1 << 20, size_bytes - len(data)))
        ):
            data += piece
        return bytes(data)

    def finish(self) -> bytes:
        """The rest of the file; the server must say that it was all."""
        rest = self.read(1 << 40)
        self._data.close()
        assert self._control.hear().startswith("226")
        return rest


def port_argument(address: str, port: int) -> str:
    """`h1,h2,h3,h4,p1,p2` of PORT and 227."""
    return ",".join([*address.split("."), str(port >> 8), str(port & 255)])


def port_of(reply: str) -> int:
    """The port of a 227."""
    numbers = reply[reply.index("(") + 1 : reply.index(")")].split(",")
    return int(numbers[4]) * 256 + int(numbers[5])


Answer = Callable[[str], str | None]
"""Takes a command line, returns the reply to send; None sends nothing."""


def polite(line: str) -> str | None:
    """What a server says that agrees to everything."""
    words = {"USER": "331 password", "PASS": "230 welcome", "PORT": "200 ok", "EPRT": "200 ok"}
    return words.get(line.partition(" ")[0].upper(), "502 not here")


class Server:
    """A server in `host` that answers by `answer` and remembers every line that it got."""

    def __init__(
        self,
        host: Host,
        *,
        greeting: bytes = b"220 by hand\r\n",
        answer: Answer = polite,
        port: int = 21,
    ) -> None:
        self.address = host.address4
        self.lines: list[str] = []
        self.bytes_received = 0
        self.peers: list[tuple[str, int]] = []
        self._greeting, self._answer = greeting, answer
        self._connections: set[socket.socket] = set()
        self._listener = host.call(
            lambda: socket.create_server((host.address4, port), backlog=1024)
        )
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, peer = self._listener.accept()
            except OSError:
                return
            self.peers.append(peer)
            self._connections.add(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        held = b""
        try:
            connection.sendall(self._greeting)
            while data := connection.recv(65536):
                self.bytes_received += len(data)
                *lines, held = (held + data).split(b"\n")
                if len(held) > 100_000:  # no line: nothing that is to be remembered
                    held = b""
                for line in lines:
                    text = line.decode("latin-1").strip()
                    self.lines.append(text)
                    if (reply := self._answer(text)) is not None:
                        connection.sendall(f"{reply}\r\n".encode())
        except OSError:
            pass  # the client or the relay broke off
        finally:
            self._connections.discard(connection)
            connection.close()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it has just ended by itself
        for thread in self._threads:
            thread.join(TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
