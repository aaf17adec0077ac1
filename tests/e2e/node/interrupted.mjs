// Readers who lose their server again and again: the text that they end with is the stored one. Each first word that a
// reader gets from a server is reported with a line, so that the test knows when to end a process.
import assert from "node:assert/strict";
import { Chat } from "@ai-sdk/react";
import { DefaultChatTransport } from "ai";

const [base, key, readers] = process.argv.slice(2);
const headers = { authorization: `Bearer ${key}` };
const deadline = Date.now() + 90_000;

const pause = () => new Promise((resolve) => setTimeout(resolve, 100));
const report = () => console.log("words");

async function ask(path) {
  for (;;) {
    assert.ok(Date.now() < deadline, "no answer in time");
    const response = await fetch(base + path, { headers }).catch(() => null);
    if (response?.ok) return response.json();
    await pause();
  }
}

/** Returns the ended answer to a prompt. */
async function stored(prompt) {
  for (;;) {
    for (const chat of (await ask("/v1/chats")).items) {
      const messages = (await ask(`/v1/chats/${chat.id}/messages`)).items;
      const answer = messages.at(-1);
      if (messages[0]?.content === prompt && ["complete", "failed"].includes(answer.status)) return answer;
    }
    await pause();
  }
}

async function aiSdk(text) {
  let finished = false;
  const transport = new DefaultChatTransport({ api: `${base}/ai-sdk/chat`, headers, body: { model: "demo" } });
  const onFinish = ({ isError, finishReason }) => {
    finished = !isError && finishReason !== undefined;
  };
  const chat = new Chat({ id: text, transport, onFinish, onError() {} });
  const textOf = (message) => message.parts.map((part) => part.text ?? "").join("");
  const read = async (reading) => {
    let reported = false;
    const timer = setInterval(() => {
      if (!reported && chat.status === "streaming") report();
      reported ||= chat.status === "streaming";
    }, 20);
    await reading;
    clearInterval(timer);
  };
  await read(chat.sendMessage({ text }));
  while (!finished) {
    assert.ok(Date.now() < deadline, "no end in time");
    await pause();
    await read(chat.resumeStream());
    // Nothing runs any more, or no server was there: the same message again brings the same answer.
    if (!finished) await read(chat.sendMessage({ messageId: chat.messages[0].id, text }));
  }
  const answer = await stored(text);
  assert.equal(chat.messages.length, 2);
  assert.equal(chat.messages[1].id, answer.id);
  assert.equal(textOf(chat.messages[1]), answer.content);
}

async function agUi(text) {
  const input = { threadId: text, runId: "run", messages: [{ id: "u", role: "user", content: text }] };
  const events = [];
  const read = async () => {
    const last = events.at(-1)?.id;
    const response = await fetch(`${base}/ag-ui`, {
      method: "POST",
      headers: { ...headers, "content-type": "application/json", ...(last !== undefined && { "last-event-id": `${last}` }) },
      body: JSON.stringify({ ...input, forwardedProps: { model: "demo" } }),
    });
    assert.ok(response.ok);
    report();
    const decoder = new TextDecoder();
    let rest = "";
    for await (const bytes of response.body) {
      const blocks = (rest + decoder.decode(bytes, { stream: true })).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const numbered = /^id: (\d+)\ndata: (.*)$/.exec(block);
        if (numbered !== null) events.push({ id: Number(numbered[1]), ...JSON.parse(numbered[2]) });
      }
    }
  };
  while (events.at(-1)?.type !== "RUN_FINISHED") {
    assert.ok(Date.now() < deadline, "no end in time");
    await read().catch(pause);
  }
  const answer = await stored(text);
  const ids = events.map(({ id }) => id);
  assert.deepEqual(ids, [...new Set(ids)].sort((one, other) => one - other), "no event twice");
  const said = events.filter(
    ({ type, messageId }) =>
      type === "TEXT_MESSAGE_CONTENT" && messageId.startsWith(`${answer.id}-${answer.attempt}-`),
  );
  assert.equal(said.map(({ delta }) => delta).join(""), answer.content);
}

const numbers = Array.from({ length: Number(readers) }, (_, number) => number);
await Promise.all(numbers.flatMap((number) => [aiSdk(`AI SDK ${number}`), agUi(`AG-UI ${number}`)]));
