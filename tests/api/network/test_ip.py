"""Who a client is, whatever it or a proxy says."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from api.network.ip import NetworkSet, client_ip_from_forwarded, parse_ip, rate_limit_key

TRUSTED = NetworkSet([ip_network("10.0.0.0/24"), ip_network("127.0.0.1"), ip_network("fd00::/64")])


@pytest.mark.parametrize(("headers", "client"), [
    ([], "10.0.0.1"),
    (["203.0.113.9"], "203.0.113.9"),
    (["6.6.6.6, 203.0.113.9"], "203.0.113.9"),  # the client has sent the left one
    (["6.6.6.6", "203.0.113.9"], "203.0.113.9"),
    (["6.6.6.6, 203.0.113.9, 10.0.0.2"], "203.0.113.9"),  # two proxies in a row
    (["10.0.0.7, 10.0.0.2"], "10.0.0.7"),  # a proxy asks for itself
    (["203.0.113.9:4711"], "203.0.113.9"),
    (["[2001:db8::5]:4711"], "2001:db8::5"),
    (["[2001:db8::5]"], "2001:db8::5"),
    (["2001:db8::5, fd00::1"], "2001:db8::5"),
    (["::ffff:203.0.113.9"], "203.0.113.9"),
    (["203.0.113.9, ::ffff:10.0.0.2"], "203.0.113.9"),
    (["unknown"], None),
    (["203.0.113.9, "], None),
    (["203.0.113.9, 10.0.0.999"], None),
    (["203.0.113.9, <script>"], None),
    ([", ".join(["10.0.0.2"] * 5000)], "10.0.0.2"),
])  # fmt: skip
def test_client_ip_is_the_rightmost_untrusted_address(headers: list[Any], client: str | None) -> None:
    found = client_ip_from_forwarded(headers, ip_address("10.0.0.1"), TRUSTED)
    assert (None if found is None else str(found)) == client


@pytest.mark.parametrize(("text", "inside"), [
    ("192.168.1.5", True), ("192.168.2.5", False), ("::ffff:192.168.1.5", True), ("::ffff:c0a8:105", True),
    ("::ffff:192.168.2.5", False), ("fe80::1%eth0", True), ("fe80::1", True), ("2001:db8::1", False), ("unknown", False),
    ("", False), ("172.16.3.4", True), ("192.168.1.5.6", False), ("0300.0250.1.5", False), ("3232235781", False),
])  # fmt: skip
def test_networks_of_both_kinds(text: str, inside: bool) -> None:
    networks = NetworkSet([ip_network("192.168.1.0/24"), ip_network("fe80::/10"), ip_network("::ffff:172.16.0.0/108")])
    assert (parse_ip(text) in networks) is inside


def test_rate_limit_key() -> None:
    assert rate_limit_key("2001:db8:1:2::3") == rate_limit_key("2001:db8:1:2:ffff::9")
    assert rate_limit_key("2001:db8:1:2::3") != rate_limit_key("2001:db8:1:3::3")
    assert rate_limit_key("::ffff:192.0.2.7") == rate_limit_key("192.0.2.7") != rate_limit_key("192.0.2.8")
    assert rate_limit_key("testclient") == "unknown"
