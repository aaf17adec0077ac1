"""Ask a question and print its answer: ``python ask.py http://127.0.0.1:8000 "Why?"``."""

import asyncio
import sys

from parley_client import ParleyClient


async def ask(url: str, question: str) -> None:
    async with ParleyClient(url) as client:
        chat = await client.api.create_chat()
        async with client.watch(chat.id) as watch:
            message_id = await client.api.send(chat.id, question)
            answer = await watch.answer_to(message_id, timeout=60)
    print(answer.content)


asyncio.run(ask(*sys.argv[1:3]))
