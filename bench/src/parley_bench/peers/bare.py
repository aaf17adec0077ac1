"""The smallest streaming server: FastAPI, which forwards what the ``openai`` client yields and stores nothing.

``python bare.py PORT BASE_URL``
"""

import sys
from collections.abc import AsyncIterator

import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from openai import AsyncOpenAI
from pydantic import BaseModel


class Prompt(BaseModel):
    content: str
    model: str


def make_app(base_url: str) -> FastAPI:
    app = FastAPI()
    client = AsyncOpenAI(base_url=base_url, api_key="demo", max_retries=0)

    @app.post("/chat")
    async def chat(prompt: Prompt) -> StreamingResponse:
        async def stream() -> AsyncIterator[str]:
            chunks = await client.chat.completions.create(
                model=prompt.model, messages=[{"role": "user", "content": prompt.content}], stream=True
            )
            async for chunk in chunks:
                if chunk.choices and (text := chunk.choices[0].delta.content):
                    yield text

        return StreamingResponse(stream(), media_type="text/plain")

    return app


if __name__ == "__main__":
    uvicorn.run(make_app(sys.argv[2]), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
