"""What counts as one client, and whose word about it is taken."""

import pytest

from gateway.addresses import client_key, includes, parse_networks, unmapped


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("", "", True),
        ("unix", "unix", True),
    ],
)
def test_a_client_is_an_address_or_a_network_of_ipv6(one: str, other: str, same: bool) -> None:
    assert (client_key(one) == client_key(other)) is same


def test_networks_are_read_with_single_addresses_among_them() -> None:
    networks = parse_networks("10.0.0.0/8, 192.0.2.7,, ::1")
    assert [includes(networks, address) for address in ("10.1.2.3", "192.0.2.7", "::1")] == [True] * 3
    assert [includes(networks, address) for address in ("192.0.2.8", "::2", "", "unknown")] == [False] * 4


@pytest.mark.parametrize("text", ["*", "all", "0.0.0.0/0", "::/0", "10.0.0.1/8", "proxy"])
def test_what_is_no_network_or_is_everybody_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_networks(text)


def test_an_address_of_ipv4_is_shown_as_such() -> None:
    assert unmapped("::ffff:192.0.2.1") == "192.0.2.1"
    assert unmapped("2001:db8::1") == "2001:db8::1"
