"""Decoding what somebody else has sent."""

from typing import Final

import msgspec

UNDECODABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What ``msgspec.json.decode`` raises for what is not JSON, not the struct, not UTF-8, or nested too deeply."""
