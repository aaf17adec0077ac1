"""The two configurations of nginx say the same, but for the path."""

import re
from collections import Counter
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "deploy" / "proxy"
ONLY_BELOW = {
    "absolute_redirect off;",
    "location = {",
    "return 308 /$is_args$args;",
    "}",
    "location / {",
    "return 404;",
}
"""What the one below a path has besides, without the path: the redirect to it, and the rest of the site."""


def lines(name: str) -> Counter[str]:
    """Without comments, the path and white space."""
    found: Counter[str] = Counter()
    for line in (FOLDER / name).read_text().splitlines():
        text = re.sub(r"\s+", " ", re.sub(r"/chat(?=/|\b)", "", line.partition("#")[0])).strip()
        if text:
            found[text] += 1
    return found


def test_below_a_path_everything_else_is_as_without() -> None:
    plain, below = lines("nginx.conf"), lines("below-a-path.conf")
    assert not plain - below, "missing below a path"
    assert set(below - plain) <= ONLY_BELOW, "said only below a path"
