"""What no service could handle: looked at, sent again, or dropped."""
