"""Helpers by name, made from the configuration."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from fwlb.config.models import FtpHelper as FtpSettings
from fwlb.config.models import Helpers
from fwlb.errors import ConfigError
from fwlb.helpers import registry
from fwlb.helpers.contract import Refused, WentOpaque
from fwlb.model import Refusal, Side

CLIENT = frozenset({ip_address("192.0.2.1")})
SERVER = frozenset({ip_address("198.51.100.2")})


def test_every_helper_has_a_table_of_its_name_in_the_configuration() -> None:
    assert set(registry.HELPERS) <= set(Helpers.model_fields)


def test_ftp_gets_its_limits_from_the_configuration() -> None:
    config = Helpers(
        ftp=FtpSettings(denied_ports=(5001,), max_line_bytes=512, max_pending_commands=1)
    )
    helper = registry.make("ftp", config, CLIENT, SERVER)
    helper.receive(Side.SERVER, b"220 ready\r\n", 0.0)
    (refused,) = helper.receive(Side.CLIENT, b"PORT 192,0,2,1,19,137\r\n", 0.0)
    assert isinstance(refused, Refused)
    assert refused.reason is Refusal.DENIED_PORT
    *_, opaque = helper.receive(Side.CLIENT, b"NOOP\r\n", 0.0)
    assert isinstance(opaque, WentOpaque)
    assert opaque.refusal is Refusal.TOO_MANY_PENDING
    helper = registry.make("ftp", config, CLIENT, SERVER)
    *_, opaque = helper.receive(Side.SERVER, b"220 " + b"x" * 600, 0.0)
    assert isinstance(opaque, WentOpaque)
    assert opaque.refusal is Refusal.LINE_TOO_LONG


def test_ports_of_enabled_helpers() -> None:
    assert registry.ports(Helpers()) == {21: "ftp"}
    assert registry.ports(Helpers(ftp=FtpSettings(ports=(21, 2121)))) == {21: "ftp", 2121: "ftp"}
    assert registry.ports(Helpers(ftp=FtpSettings(enabled=False))) == {}


def test_an_unknown_helper_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="known helpers: ftp"):
        registry.make("gopher", Helpers(), CLIENT, SERVER)
