// The AI SDK, unchanged, as `useChat` uses it: `Chat` of @ai-sdk/react with the default transport.
import assert from "node:assert/strict";
import { Chat } from "@ai-sdk/react";
import { DefaultChatTransport, lastAssistantMessageIsCompleteWithToolCalls } from "ai";

const [base, key, scenario] = process.argv.slice(2);
const headers = { authorization: `Bearer ${key}` };
const CLOCK = {
  type: "function",
  function: { name: "clock", parameters: { type: "object", properties: { zone: { type: "string" } } } },
};

function open(id, body, more = {}) {
  const transport = new DefaultChatTransport({ api: `${base}/ai-sdk/chat`, headers, body });
  return new Chat({ id, transport, ...more });
}

const textOf = (message) => message.parts.map((part) => (part.type === "text" ? part.text : "")).join("");

async function until(condition, what) {
  const deadline = Date.now() + 30_000;
  while (!condition()) {
    assert.ok(Date.now() < deadline, `no ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Returns the chat's messages as Parley has them, oldest first. */
async function stored(title) {
  const get = async (path) => (await fetch(`${base}/v1${path}`, { headers })).json();
  const { items } = await get("/chats");
  for (const chat of items) {
    const messages = (await get(`/chats/${chat.id}/messages`)).items;
    if (messages[0]?.content === title) return messages;
  }
  return [];
}

const scenarios = {
  async chat() {
    const chat = open("A chat of mine!", { model: "demo-reasoning" });
    await chat.sendMessage({ text: "First of the chat" });
    assert.equal(chat.status, "ready", String(chat.error));
    assert.ok(chat.messages[1].parts.some(({ type, text }) => type === "reasoning" && text !== ""));
    await chat.sendMessage({ text: "And again" });
    const first = chat.messages.at(-1);
    await chat.regenerate();
    const second = chat.messages.at(-1);
    assert.notEqual(second.id, first.id);
    await chat.sendMessage({ messageId: chat.messages[2].id, text: "And something else" });
    assert.equal(chat.status, "ready", String(chat.error));
    assert.equal(chat.messages.length, 4);
    assert.match(textOf(chat.messages.at(-1)), /something else/);
    const answers = (await stored("First of the chat")).filter(({ role }) => role === "assistant");
    assert.equal(answers.length, 4, "each answer is in the chat");
    for (const message of chat.messages.filter(({ role }) => role === "assistant")) {
      assert.equal(textOf(message), answers.find(({ id }) => id === message.id).content);
    }
  },

  async tools() {
    const called = [];
    const chat = open("tools", { model: "demo-tools", parameters: { tools: [CLOCK] } }, {
      sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithToolCalls,
      onToolCall({ toolCall }) {
        called.push(toolCall);
        chat.addToolOutput({ tool: "clock", toolCallId: toolCall.toolCallId, output: { time: "12:00" } });
      },
    });
    await chat.sendMessage({ text: "What time is it?" });
    await until(() => chat.status === "ready" && textOf(chat.messages.at(-1)) !== "", "answer to the result");
    assert.deepEqual(called.map(({ toolName }) => toolName), ["clock"]);
    assert.equal(chat.messages.length, 2, "one message for the call and what follows");
    assert.match(textOf(chat.messages[1]), /12:00/);
    await chat.sendMessage({ text: "Thanks" });
    assert.equal(chat.status, "ready", String(chat.error));
    const manual = open("tools by hand", { model: "demo-tools", parameters: { tools: [CLOCK] } });
    await manual.sendMessage({ text: "What time is it?" });
    const { toolCallId } = manual.messages[1].parts.at(-1);
    await manual.addToolOutput({ tool: "clock", toolCallId, output: "12:34" });
    await manual.sendMessage({ text: "And now?" }, { body: { model: "demo-echo" } });
    assert.match(textOf(manual.messages[3]), /12:34/, "the result comes with the next message");
  },

  async errors() {
    const chat = open("errors", { model: "demo-error-401" });
    await chat.sendMessage({ text: "It fails" });
    assert.equal(chat.status, "error");
    assert.equal(chat.messages.at(-1).role === "assistant" ? textOf(chat.messages.at(-1)) : "", "");
    const forked = open("errors", { model: "demo-fast" }, {
      messages: ["user", "assistant"].map((role) => ({ id: `unknown ${role}`, role, parts: [{ type: "text", text: "Never sent" }] })),
    });
    await forked.sendMessage({ text: "After it" });
    assert.match(forked.error.message, /messages\[1\]/);
    const refused = open("refused", { model: "demo-fast" });
    await refused.sendMessage({ files: [{ type: "file", mediaType: "application/pdf", url: "data:application/pdf;base64,AA" }] });
    assert.match(refused.error.message, /messages\[0\]\.parts\[0\]/);
    for (const text of ["After it", "And again"]) {
      await refused.sendMessage({ text });
      assert.equal(refused.status, "ready", String(refused.error));
    }
    const stranger = new Chat({ transport: new DefaultChatTransport({ api: `${base}/ai-sdk/chat` }) });
    await stranger.sendMessage({ text: "Hello" });
    assert.match(stranger.error.message, /not_authenticated/);
  },

  async resume() {
    const id = "resumed";
    const nothing = open(id, {});
    await nothing.resumeStream();
    assert.equal(nothing.status, "ready", "no chat yet, so nothing runs");
    const chat = open(id, { model: "demo" });
    const sending = chat.sendMessage({ text: "Read it in two tabs" });
    await until(() => chat.messages.length === 2 && textOf(chat.messages[1]) !== "", "first words");
    const tab = open(id, {}, { messages: chat.messages.slice(0, 1) });
    const resuming = tab.resumeStream();
    await until(() => tab.messages.length === 2 && textOf(tab.messages[1]) !== "", "first words in the other tab");
    await chat.stop(); // stops reading; the answer goes on
    await Promise.all([sending, resuming]);
    assert.equal(tab.status, "ready", String(tab.error));
    const answer = (await stored("Read it in two tabs")).at(-1);
    assert.equal(answer.status, "complete");
    assert.equal(textOf(tab.messages[1]), answer.content);
    assert.ok(textOf(chat.messages[1]).length < answer.content.length);
    await chat.sendMessage({ messageId: chat.messages[0].id, text: "Read it in two tabs" });
    assert.equal(textOf(chat.messages[1]), answer.content, "the same message again is the same answer");
    await tab.sendMessage({ text: "Go on" });
    assert.equal(tab.status, "ready", String(tab.error));
  },

  async page() {
    const greeting = [
      { id: "s", role: "system", parts: [{ type: "text", text: "Talk like a pirate" }] },
      { id: "g", role: "assistant", parts: [{ type: "text", text: "How can I help?" }] },
    ];
    const chat = open("a/b?c", { model: "demo-echo" }, { messages: greeting });
    for (const text of ["Hello", "And again"]) {
      await chat.sendMessage({ text });
      assert.equal(chat.status, "ready", String(chat.error));
      assert.match(textOf(chat.messages.at(-1)), /pirate/);
    }
    const sending = chat.sendMessage({ text: "Slowly" }, { body: { model: "demo-slow" } });
    await until(() => chat.messages.length === 8 && textOf(chat.messages[7]) !== "", "first words");
    const tab = open("a/b?c", {}, { messages: chat.messages.slice(0, 7) });
    const resuming = tab.resumeStream();
    await until(() => tab.messages.length === 8, "the answer in the other tab");
    await chat.stop(); // stops reading; the answer goes on
    await chat.regenerate({ body: { model: "demo-fast" } });
    assert.equal(chat.status, "ready", String(chat.error));
    await Promise.all([sending, resuming]);
    const answers = (await stored("Hello")).slice(-2);
    assert.deepEqual(answers.map(({ status }) => status), ["stopped", "complete"]);
    assert.equal(textOf(chat.messages[7]), answers[1].content);
  },

  async stop() {
    const chat = open("stopped", { model: "demo-slow" });
    const sending = chat.sendMessage({ text: "Stop it" });
    await until(() => chat.messages.length === 2 && textOf(chat.messages[1]) !== "", "first words");
    const response = await fetch(`${base}/ai-sdk/chat/stopped/stop`, { method: "POST", headers: { ...headers, "content-type": "application/json" } });
    assert.equal(response.status, 204);
    await sending;
    assert.equal((await stored("Stop it")).at(-1).status, "stopped");
  },
};

await scenarios[scenario]();
