"""docs/operations.md agrees with the code."""

import importlib.util
import re
from types import ModuleType

import pytest

from parley.contracts import streams
from parley.contracts.limits import MAX_ATTEMPTS
from tests.deploy.support.paths import ROOT

PAGE = ROOT / "docs" / "operations.md"


@pytest.fixture(scope="module")
def renderer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("render_settings", ROOT / "docs" / "render_settings.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_of_settings_is_generated_from_the_code(renderer: ModuleType) -> None:
    assert renderer.put_into(PAGE.read_text()) == PAGE.read_text(), (
        "generate it again: .venv/bin/python docs/render_settings.py"
    )


def test_every_setting_is_described(renderer: ModuleType) -> None:
    for row in re.findall(r"^\| `[A-Z_]+` .*", renderer.render(), re.M):
        name, description = row.split("|")[1].strip(), row.split("|")[3].strip()
        assert description, name


def test_every_setting_that_the_text_names_exists(renderer: ModuleType) -> None:
    known = set(re.findall(r"^\| `([A-Z_]+)`", renderer.render(), re.M))
    others = {"SECRETS_DIR", "SSL_CERT_FILE", "TRACES_FILE", "OTEL_EXPORTER_OTLP_ENDPOINT", "SO_REUSEPORT", "INFO"}
    # What compose and Ollama read themselves.
    others |= {"COMPOSE_PROJECT_NAME", "PARLEY_ADDRESS", "PARLEY_PORT", "OLLAMA_HOST"}
    others |= {stream.name for stream in streams.STREAMS}
    named = set(re.findall(r"`([A-Z][A-Z_]+)(?:=[^`]*)?`", PAGE.read_text()))
    assert named - known - others == set()


def test_its_links_lead_to_files() -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", PAGE.read_text()):
        assert (PAGE.parent / target).exists(), target


def test_its_numbers_are_those_of_the_contracts() -> None:
    text = PAGE.read_text()
    assert f"`ack_wait` ({streams.LLM_WORKER_REQUESTS.ack_wait:g} s)" in text
    assert f"after {MAX_ATTEMPTS} attempts" in text
    assert f"for {streams.CHAT.max_age / streams.DAY:g} days" in text
    assert f"({streams.LLM_WORKER_REQUESTS.max_ack_pending:,} answers at once)" in text


def test_each_outage_is_the_name_of_a_test() -> None:
    rows = PAGE.read_text().partition("<!-- outages")[2].partition("<!-- end of outages")[0]
    named = re.findall(r"`(test_\w+)` \|$", rows, re.M)
    assert len(named) == rows.count("\n| ") - 1, "each row but the heading names one"
    tests = "".join(file.read_text() for file in PAGE.parents[1].glob("tests/**/test_*.py"))
    assert [name for name in named if f"def {name}(" not in tests] == []
