"""The browser's types are what the contracts say."""

from scripts import gen_frames_ts


def test_the_browsers_types_are_what_the_contracts_say() -> None:
    assert gen_frames_ts.FILE.read_text(encoding="utf-8") == gen_frames_ts.generated(), (
        "run python scripts/gen_frames_ts.py"
    )
