"""What text may hold."""


def storable(text: str) -> str:
    """Postgres' text cannot hold NUL, which JSON can spell; the replacement character stands for it."""
    return text.replace("\x00", "\ufffd") if "\x00" in text else text
