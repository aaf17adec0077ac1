"""A short run of ``make chaos``."""

from tests.chaos.report import Report
from tests.chaos.run import LOG, RunOptions, run

SEED = 4


async def run_and_check(options: RunOptions) -> Report:
    """Run, and fail with the report and the log when an invariant was violated."""
    report = await run(options, print)
    text = "\n".join(report.lines())
    print(text)
    log = (options.folder / LOG).read_text(errors="replace")
    assert report.good, f"{text}\n--- the last of the log ---\n{log[-20_000:]}"
    assert report.findings.observed > 0
    return report
