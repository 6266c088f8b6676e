"""Messages made of the grammar: read, written, changed and restored byte for byte."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from hypothesis import given
from hypothesis import strategies as st

from fwlb.helpers.sip import (
    Edit,
    Flaw,
    Message,
    NameAddr,
    Part,
    Request,
    Response,
    Rewriter,
    StreamReader,
    Uri,
    Via,
    quick_call_id,
    read_datagram,
    read_parts,
)
from fwlb.helpers.sip.edits import apply_edits
from fwlb.model import Endpoint

TOKENS = st.text("abcXYZ019-.!%*_+`'~", min_size=1, max_size=8)
SPACE = st.sampled_from(["", " ", "\t", "  ", "\r\n ", " \r\n\t"])
PORTS = st.integers(1, 65535)
QUOTED = st.text('abc ,;<>@=:é\\"', max_size=8).map(
    lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
)
ADDRESSES = st.one_of(st.builds(IPv4Address, st.integers(0, 2**32 - 1)), st.ip_addresses(v=6))
ENDPOINTS = st.builds(Endpoint, ADDRESSES, PORTS)
HOSTS = st.one_of(
    st.sampled_from(["h", "example.com", "a-b.C_d.e", "x1."]),
    ADDRESSES.map(lambda a: f"[{a}]" if isinstance(a, IPv6Address) else str(a)),
)
USERS = st.text("abc019-_.!~*'()&=+$", min_size=1, max_size=8)


@st.composite
def parameters(draw: st.DrawFn, joint: str = ";", *, spaced: bool = True) -> str:
    names = draw(st.lists(st.sampled_from(["x", "lr", "Q", "p-1", "ob"]), max_size=3, unique=True))
    text = ""
    for name in names:
        space = draw(SPACE) if spaced else ""
        value = draw(st.none() | st.sampled_from(["1", "a.b", "[::1]"]))
        if spaced and value is None:
            value = draw(st.none() | QUOTED)
        text += f"{space}{joint}{space}{name}" + (
            "" if value is None else f"{space}={space}{value}"
        )
    return text


@st.composite
def uris(draw: st.DrawFn) -> str:
    if draw(st.integers(0, 9)) == 0:
        return draw(st.sampled_from(["tel:+1-2(3)", "urn:service:sos", "http://h/a;b?c,d"]))
    user = draw(st.just("") | USERS.map(lambda user: f"{user}@"))
    port = draw(st.just("") | PORTS.map(lambda port: f":{port}"))
    scheme = draw(st.sampled_from(["sip", "sips", "SIP"]))
    return f"{scheme}:{user}{draw(HOSTS)}{port}"


@st.composite
def addresses(draw: st.DrawFn) -> str:
    if draw(st.integers(0, 4)) == 0:
        return draw(uris().filter(lambda uri: ";" not in uri)) + draw(parameters())
    display = draw(st.sampled_from(["", "Bob ", "Bob  B. "]) | QUOTED)
    uri = draw(uris())
    more = draw(parameters(spaced=False)) if uri.lower().startswith("sip") else ""
    return f"{display}{draw(SPACE)}<{uri}{more}>{draw(parameters())}"


@st.composite
def vias(draw: st.DrawFn) -> str:
    space = draw(SPACE)
    port = draw(st.just("") | PORTS.map(lambda port: f"{space}:{space}{port}"))
    known = draw(st.sampled_from(["", ";rport", ";received=192.0.2.1", ";branch=z9hG4bKx"]))
    transport = draw(st.sampled_from(["UDP", "tcp", "TLS"]))
    return f"SIP{space}/{space}2.0/{transport} {draw(HOSTS)}{port}{draw(parameters())}{known}"


def comma_list(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(st.lists(values, min_size=1, max_size=3), SPACE).map(
        lambda drawn: f"{drawn[1]},{drawn[1]}".join(drawn[0])
    )


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    method = draw(st.sampled_from(["INVITE", "REGISTER", "x!"]) | TOKENS)
    response = draw(st.booleans())
    first = "SIP/2.0 183 Änd" if response else f"{method} {draw(uris())} SIP/2.0"
    body = draw(st.binary(max_size=30))
    lines = [
        (draw(st.sampled_from(["Via", "v", "VIA"])), draw(comma_list(vias()))),
        (draw(st.sampled_from(["From", "f"])), draw(addresses())),
        (draw(st.sampled_from(["To", "t", "tO"])), draw(addresses())),
        (draw(st.sampled_from(["Call-ID", "i", "CALL-id"])), draw(TOKENS)),
        ("CSeq", f"{draw(st.integers(0, 2**31 - 1))}{draw(SPACE)} {method}"),
        ("Content-Type", "a/b"),
        (draw(st.sampled_from(["Content-Length", "l"])), str(len(body))),
        ("P-Unknown", draw(QUOTED)),
    ]
    if draw(st.booleans()):
        lines.append((draw(st.sampled_from(["Contact", "m"])), draw(comma_list(addresses()))))
    lines = draw(st.permutations(lines))
    text = "".join(
        f"{name}{draw(st.sampled_from(['', ' ', chr(9)]))}:{draw(SPACE)}{value}{draw(SPACE)}\r\n"
        for name, value in lines
    )
    return f"{first}\r\n{text}\r\n".encode() + body


def read(data: bytes) -> Request | Response:
    message = read_datagram(data)
    assert isinstance(message, Request | Response), message
    return message


def places(message: Message) -> list[Uri | Via]:
    """Everything in a message that has a host."""
    found: list[NameAddr] = [message.sender, message.recipient, *message.contacts]
    uris_found = [address.uri for address in found]
    if isinstance(message, Request):
        uris_found.append(message.uri)
    return [*message.vias, *(uri for uri in uris_found if uri.host)]


@given(messages())
def test_what_the_grammar_makes_is_read_and_written_as_it_was(data: bytes) -> None:
    message = read(data)
    assert Rewriter(message).build() == data
    assert quick_call_id(data) == message.call_id


@given(messages(), st.integers(0, 4))
def test_line_ends_before_it_change_nothing(data: bytes, count: int) -> None:
    message, shifted = read(data), read(b"\r\n" * count + data)
    assert shifted.start == 2 * count
    assert [place.raw for place in places(shifted)] == [place.raw for place in places(message)]
    assert shifted.body == message.body


@given(messages(), st.data())
def test_hosts_are_changed_and_restored_and_nothing_else(data: bytes, more: st.DataObject) -> None:
    message = read(data)
    chosen = more.draw(st.lists(st.sampled_from(range(len(places(message)))), unique=True))
    endpoint = more.draw(ENDPOINTS)
    rewriter = Rewriter(message)
    rewriter.add(*(places(message)[index].at(endpoint) for index in chosen))
    changed = read(rewriter.build())
    written = f"{endpoint}".encode()
    for index, (old, new) in enumerate(zip(places(message), places(changed), strict=True)):
        assert new.host_port == (written if index in chosen else old.host_port)
    back = Rewriter(changed)
    for index in chosen:
        old = places(message)[index]
        # from the data: a Via may be folded inside of sent-by
        written = data[old.host_start : old.host_end]
        back.add(places(changed)[index].with_host(written))
    assert back.build() == data


@given(messages(), st.binary(max_size=300))
def test_another_body_changes_content_length_and_nothing_else(data: bytes, body: bytes) -> None:
    message = read(data)
    rewriter = Rewriter(message)
    rewriter.replace_body(body)
    changed = read(rewriter.build())
    assert changed.body == body
    assert changed.content_length == len(body)
    for old, new in zip(message.head.all_fields(), changed.head.all_fields(), strict=True):
        assert old.name == new.name
        if old.name != b"content-length":
            assert message.data[old.start : old.end] == changed.data[new.start : new.end]


@given(st.lists(messages(), min_size=1, max_size=4), st.data())
def test_a_stream_of_messages_is_read_the_same_however_split(
    sent: list[bytes], more: st.DataObject
) -> None:
    between = [b"\r\n" * more.draw(st.integers(0, 2)) for _ in sent]
    stream = b"".join(b"".join(pair) for pair in zip(between, sent, strict=True))
    cuts = sorted(more.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    reader = StreamReader()
    items = [
        item
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)
        for item in reader.feed(stream[start:end])
    ]
    assert b"".join(item.data for item in items) == stream
    assert [item.data for item in items if isinstance(item, Message)] == sent
    assert reader.buffered_bytes == 0


@given(
    st.lists(st.tuples(st.binary(max_size=40), st.booleans()), min_size=1, max_size=5),
    st.sampled_from(["b", "=_x(1)/?", "a b"]),
    st.data(),
)
def test_one_part_changes_and_the_others_stay(
    contents: list[tuple[bytes, bool]], boundary: str, more: st.DataObject
) -> None:
    delimiter = b"--" + boundary.encode()
    body = b"".join(
        delimiter
        + (
            b"\r\nContent-Type: a/b\r\nContent-Length: %d\r\n\r\n" % len(part)
            if own
            else b"\r\n\r\n"
        )
        + part
        + b"\r\n"
        for part, own in contents
    )
    data = (
        (
            f"INFO sip:h SIP/2.0\r\nv:SIP/2.0/UDP h\r\nf:sip:a\r\nt:sip:b\r\ni:1\r\nCSeq:1 INFO\r\n"
            f'c:multipart/mixed;boundary="{boundary}"\r\n\r\n'
        ).encode()
        + body
        + delimiter
        + b"--"
    )
    before = parts(read(data))
    assert [part.content for part in before] == [part for part, _ in contents]
    index = more.draw(st.integers(0, len(before) - 1))
    new = more.draw(st.binary(max_size=200))
    rewriter = Rewriter(read(data))
    rewriter.add(*before[index].with_content(new))
    changed = rewriter.build()
    after = parts(read(changed))
    expected = [new if at == index else part.content for at, part in enumerate(before)]
    assert [part.content for part in after] == expected
    back = Rewriter(read(changed))
    back.add(*after[index].with_content(before[index].content))
    assert back.build() == data


def parts(message: Message) -> tuple[Part, ...]:
    found = read_parts(message)
    assert not isinstance(found, Flaw), found
    return found


@given(st.binary(max_size=40), st.data())
def test_edits_keep_what_they_do_not_touch(data: bytes, more: st.DataObject) -> None:
    bounds = sorted(more.draw(st.lists(st.integers(0, len(data)), max_size=8)))
    spans = list(zip(bounds[::2], bounds[1::2], strict=False))
    edits = [Edit(start, end, more.draw(st.binary(max_size=5))) for start, end in spans]
    position, expected = 0, b""
    for edit in edits:
        expected += data[position : edit.start] + edit.new
        position = edit.end
    shuffled = more.draw(st.permutations(edits))
    if len({(edit.start, edit.end) for edit in edits}) == len(edits):
        assert apply_edits(data, shuffled) == expected + data[position:]
    assert apply_edits(data, edits) == expected + data[position:]
