import pytest

from parley.runtime.forwarded import TrustedProxies, group_of


@pytest.mark.parametrize(
    ("peer", "named", "client"),
    [
        ("203.0.113.7", [], "203.0.113.7"),
        ("203.0.113.7", ["198.51.100.1"], "203.0.113.7"),  # nobody we trust says so
        ("10.1.2.3", ["198.51.100.1"], "198.51.100.1"),
        ("10.1.2.3", ["1.1.1.1, 198.51.100.1"], "198.51.100.1"),  # the left one is the client's own word
        ("10.1.2.3", ["1.1.1.1, 198.51.100.1, 10.9.9.9"], "198.51.100.1"),
        ("10.1.2.3", ["1.1.1.1", "198.51.100.1"], "198.51.100.1"),
        ("10.1.2.3", ["10.5.5.5"], "10.5.5.5"),
        ("10.1.2.3", [], None),
        ("10.1.2.3", ["1.1.1.1, nonsense"], None),
        ("10.1.2.3", ["1.1.1.1, nonsense, 10.5.5.5"], "10.5.5.5"),
        ("10.1.2.3", ["1.1.1.1, 198.51.100.1:50123"], "198.51.100.1"),
        ("10.1.2.3", ["1.1.1.1, 198.51.100.1:50123, 10.9.9.9:80"], "198.51.100.1"),
        ("10.1.2.3", ["[2001:db8::1]:50123"], "2001:db8::1"),
        ("10.1.2.3", ["[2001:db8::1]"], "2001:db8::1"),
        ("10.1.2.3", ["198.51.100.1:50123:1"], None),
        ("::ffff:10.1.2.3", ["2001:db8::1"], "2001:db8::1"),
        ("fd00::1", ["2001:db8::1"], "2001:db8::1"),
    ],
)
def test_the_client_is_the_rightmost_address_that_is_no_proxy(peer: str, named: list[str], client: str | None) -> None:
    assert TrustedProxies("10.0.0.0/8, fd00::/8").client(peer, named) == client


@pytest.mark.parametrize("networks", ["*", "nonsense", "0.0.0.0/0", "10.0.0.0/8, ::/0"])
def test_what_is_no_network_or_everybody_is_refused(networks: str) -> None:
    with pytest.raises(ValueError, match="network"):
        TrustedProxies(networks)


def test_the_addresses_of_one_ipv6_customer_are_one() -> None:
    assert group_of("2001:db8::1") == group_of("2001:db8::ffff:1")
    assert group_of("2001:db8:0:1::1") != group_of("2001:db8::1")
    assert group_of("203.0.113.7") == group_of("::ffff:203.0.113.7") == "203.0.113.7"
