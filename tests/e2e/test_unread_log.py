"""``parley up | less``, left on its first page: nothing stands still because nobody reads the log."""

import asyncio
import os
from pathlib import Path

import httpx

from parley_cli import child_process
from parley_cli.embedded.guard import guarded
from tests.support.stack import RunningStack


class _Unread(RunningStack):
    """Its output goes into a pipe that is full after 64 KB."""

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.reading, writing = os.pipe()
        self._process = child_process.start(
            guarded(self._command, on_death=self.on_death), output=writing, environment=self.environment
        )
        os.close(writing)

    @property
    def log(self) -> str:
        return ""


async def test_a_log_that_nobody_reads_stops_neither_answers_nor_the_end(tmp_path: Path) -> None:
    async with _Unread(tmp_path / "data", environment={"LOG_LEVEL": "DEBUG"}) as stack:
        async with httpx.AsyncClient(base_url=stack.url, timeout=20) as http:
            for _ in range(40):
                answers = await asyncio.gather(*[http.get("/healthz") for _ in range(50)])
                assert {answer.status_code for answer in answers} == {200}
        async with stack.client() as client:
            chat = await client.api.create_chat(model="demo-rate-500x500")
            async with client.watch(chat.id) as watch:
                answer = await watch.answer_to(await client.api.send(chat.id, "is anybody there"))
            assert answer.status == "complete"
        assert stack.stop() == 0
    with os.fdopen(stack.reading, "rb") as output:
        assert b"Parley is ready" in output.read()
