"""The browser's types are generated from the contracts."""

from scripts import gen_frames_ts


def test_the_browsers_types_are_generated_from_the_contracts() -> None:
    assert gen_frames_ts.FILE.read_text(encoding="utf-8") == gen_frames_ts.generated(), (
        "run python scripts/gen_frames_ts.py"
    )
