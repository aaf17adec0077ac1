"""The client library's README."""

import tomllib
from pathlib import Path

import parley_client

FOLDER = Path(__file__).resolve().parents[3] / "clients" / "python"


def test_the_example_of_the_readme_is_the_one_that_runs() -> None:
    _, code = (FOLDER / "examples" / "ask.py").read_text().split("\n\n", 1)
    assert f"```python\n{code}```" in (FOLDER / "README.md").read_text()


def test_the_readme_names_the_version_and_the_public_names() -> None:
    text = (FOLDER / "README.md").read_text()
    version = tomllib.loads((FOLDER / "pyproject.toml").read_text())["project"]["version"]
    assert f"Version {version}" in text
    assert all(f"`{name}`" in text for name in parley_client.__all__)
