"""A short run of ``make chaos``."""

from tests.chaos.report import Report
from tests.chaos.run import LOG, RunOptions, run

SEED = 4


async def carried_out(options: RunOptions) -> Report:
    """Run, and fail with all that is known unless every promise was kept."""
    report = await run(options, print)
    told = "\n".join(report.lines())
    print(told)
    log = (options.folder / LOG).read_text(errors="replace")
    assert report.good, f"{told}\n--- the last of the log ---\n{log[-20_000:]}"
    assert report.findings.witnessed > 0
    return report
