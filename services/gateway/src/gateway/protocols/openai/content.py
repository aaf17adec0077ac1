"""Images and tools in requests of chat completions and responses. No I/O."""

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.errors import Invalid
from parley.contracts.completion import ImagePart


def image(url: str, detail: str | None, field: str) -> ImagePart:
    """Return an image of a request. Raises Invalid."""
    if not url.startswith(("https://", "data:image/")):
        raise Invalid("An image must be an https: address, or a data: address of an image.", field=field)
    return ImagePart(url=url, detail=detail)


def check_tools(tools: Sequence[Mapping[str, Any]] | None) -> None:
    """Check that all tools are functions of the client. Raises Invalid."""
    for index, tool in enumerate(tools or ()):
        if tool.get("type") != "function":
            raise Invalid(
                f"Only tools of the type function are supported, not {tool.get('type')!r}.",
                code="unsupported_parameter",
                field=f"tools[{index}].type",
            )
