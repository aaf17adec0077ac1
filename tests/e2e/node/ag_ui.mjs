// AG-UI's own agent, unchanged; and a reader that continues with Last-Event-ID.
import assert from "node:assert/strict";
import { HttpAgent } from "@ag-ui/client";

const [base, key, scenario] = process.argv.slice(2);
const headers = { authorization: `Bearer ${key}` };
const CLOCK = { name: "clock", description: "The time", parameters: { type: "object", properties: { zone: { type: "string" } } } };

function open(threadId) {
  return new HttpAgent({ url: `${base}/ag-ui`, headers, threadId });
}

/** Reads events of a run until `enough` of them, each with its number. */
async function read(url, init, enough = Number.POSITIVE_INFINITY) {
  const response = await fetch(url, init);
  assert.equal(response.status, 200, await (response.ok ? "" : response.text()));
  const events = [];
  let rest = "";
  const decoder = new TextDecoder();
  for await (const bytes of response.body) {
    rest += decoder.decode(bytes, { stream: true });
    const blocks = rest.split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const lines = Object.fromEntries(block.split("\n").map((line) => line.split(/: (.*)/s)));
      if (lines.data !== undefined) events.push({ id: lines.id, ...JSON.parse(lines.data) });
      if (events.length === enough) return events;
    }
  }
  return events;
}

async function until(condition, what) {
  const deadline = Date.now() + 30_000;
  while (!condition()) {
    assert.ok(Date.now() < deadline, `no ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const scenarios = {
  async chat() {
    const agent = open("thread of a chat");
    agent.addMessage({ id: "u1", role: "user", content: "Hello there" });
    await agent.runAgent({ forwardedProps: { model: "demo-reasoning" } });
    assert.deepEqual(agent.messages.map(({ role }) => role), ["user", "reasoning", "assistant"]);
    agent.addMessage({ id: "u2", role: "user", content: "And again" });
    await agent.runAgent({ forwardedProps: { model: "demo-fast" } });
    assert.match(agent.messages.at(-1).content, /And again/);
  },

  async tools() {
    const agent = open("thread with tools");
    const parameters = { tools: [CLOCK], forwardedProps: { model: "demo-tools" } };
    agent.addMessage({ id: "u1", role: "user", content: "What time is it?" });
    let pending = [];
    await agent.runAgent(parameters, { onRunFinishedEvent: (end) => { pending = end.pendingToolCallIds; } });
    assert.equal(pending.length, 1);
    agent.addMessage({ id: "t1", role: "tool", toolCallId: pending[0], content: "12:00" });
    await agent.runAgent(parameters);
    assert.match(agent.messages.at(-1).content, /12:00/);
    agent.addMessage({ id: "u2", role: "user", content: "And now?" });
    await agent.runAgent(parameters);
    agent.addMessage({ id: "t2", role: "tool", toolCallId: agent.messages.at(-1).toolCalls[0].id, content: "12:34" });
    agent.addMessage({ id: "u3", role: "user", content: "Tell me" });
    await agent.runAgent({ ...parameters, forwardedProps: { model: "demo-echo" } });
    assert.match(agent.messages.at(-1).content, /12:34/, "the result comes with the next message");
  },

  async errors() {
    const agent = open("thread that fails");
    agent.addMessage({ id: "u1", role: "user", content: "It fails" });
    let error;
    await agent
      .runAgent({ forwardedProps: { model: "demo-error-401" } }, { onRunErrorEvent: ({ event }) => { error = event; } })
      .catch(() => undefined);
    assert.ok(error?.code);
    const forked = open("thread that fails");
    forked.addMessage({ id: "a", role: "user", content: "Never sent" });
    forked.addMessage({ id: "c", role: "assistant", content: "Never answered" });
    forked.addMessage({ id: "b", role: "user", content: "After it" });
    await assert.rejects(forked.runAgent(), /409/);
  },

  async page() {
    const agent = open("thread of a page");
    agent.addMessage({ id: "g", role: "assistant", content: "How can I help?" });
    agent.addMessage({ id: "u1", role: "user", content: "Slowly" });
    const running = agent.runAgent({ forwardedProps: { model: "demo-slow" } });
    await until(() => agent.messages.length === 3 && agent.messages[2].content !== "", "first words");
    agent.abortRun(); // stops reading; the run goes on
    await running;
    agent.setMessages(agent.messages.slice(0, 2));
    await agent.runAgent({ forwardedProps: { model: "demo-fast" } });
    assert.match(agent.messages[2].content, /Slowly/);
    agent.addMessage({ id: "u2", role: "user", content: "And again" });
    await agent.runAgent({ forwardedProps: { model: "demo-fast" } });
    assert.match(agent.messages.at(-1).content, /And again/);
  },

  async resume() {
    const input = {
      threadId: "thread to resume",
      runId: "run",
      messages: [{ id: "u", role: "user", content: "Read it in pieces" }],
      forwardedProps: { model: "demo" },
    };
    const post = (last) => ({
      method: "POST",
      headers: { ...headers, "content-type": "application/json", ...(last && { "last-event-id": last }) },
      body: JSON.stringify(input),
    });
    const events = await read(`${base}/ag-ui`, post(), 4);
    const query = new URLSearchParams({ threadId: input.threadId, runId: input.runId });
    const get = () => ({ headers: { ...headers, "last-event-id": events.at(-1).id } });
    events.push(...(await read(`${base}/ag-ui?${query}`, get(), 5)));
    events.push(...(await read(`${base}/ag-ui`, post(events.at(-1).id))));
    assert.equal(events.at(-1).type, "RUN_FINISHED");
    const numbers = events.map(({ id }) => Number(id));
    assert.deepEqual(numbers, [...new Set(numbers)].sort((one, other) => one - other), "no event twice");
    const whole = await read(`${base}/ag-ui?${query}`, { headers });
    const text = (of) => of.filter(({ type }) => type === "TEXT_MESSAGE_CONTENT").map(({ delta }) => delta).join("");
    assert.ok(text(whole).length > 100);
    assert.equal(text(events), text(whole));
  },
};

await scenarios[scenario]();
