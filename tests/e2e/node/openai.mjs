// The official OpenAI SDK for Node, unchanged.
import assert from "node:assert/strict";
import OpenAI from "openai";

const [base, key, scenario] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${base}/openai/v1`, apiKey: key, maxRetries: 0 });
const messages = [{ role: "user", content: "Tell me about otters" }];
const clock = {
  name: "clock",
  parameters: { type: "object", properties: { zone: { type: "string" } } },
};

const scenarios = {
  async completions() {
    assert.ok((await client.models.list()).data.length > 0);
    const whole = await client.chat.completions.create({ model: "demo-fast", messages });
    assert.equal(whole.choices[0].finish_reason, "stop");
    const stream = client.chat.completions.stream({
      model: "demo-fast",
      messages,
      stream_options: { include_usage: true },
    });
    assert.match(await stream.finalContent(), /otters/);
    assert.ok((await stream.totalUsage()).completion_tokens > 0);
  },

  async tools() {
    const tools = [{ type: "function", function: { ...clock, strict: true } }];
    // This helper adds members to the message, which goes back with them.
    const asked = await client.chat.completions.parse({ model: "demo-tools", messages, tools });
    const { message } = asked.choices[0];
    const result = { role: "tool", tool_call_id: message.tool_calls[0].id, content: "12:00" };
    const answered = await client.chat.completions.create({
      model: "demo-tools",
      messages: [...messages, message, result],
      tools,
    });
    assert.match(answered.choices[0].message.content, /12:00/);
  },

  async errors() {
    await assert.rejects(client.chat.completions.create({ model: "demo-fast", messages, n: 2 }), OpenAI.BadRequestError);
    await assert.rejects(
      client.withOptions({ apiKey: "pk_none" }).models.list(),
      OpenAI.AuthenticationError,
    );
  },

  async responses() {
    const first = await client.responses.create({ model: "demo-fast", input: "Tell me about otters" });
    assert.match(first.output_text, /otters/);
    const next = await client.responses.create({ model: "demo-fast", input: "More", previous_response_id: first.id });
    assert.equal(next.status, "completed");
    // The AI SDK refers to earlier output like this.
    const input = [{ type: "item_reference", id: first.output[0].id }, { role: "user", content: "More" }];
    assert.equal((await client.responses.create({ model: "demo-fast", input })).status, "completed");
    const background = await client.responses.create({ model: "demo", input: "Slowly", background: true, stream: true });
    let id;
    let last = 0;
    for await (const event of background) {
      id ??= event.response?.id;
      last = event.sequence_number;
      if (event.type === "response.output_text.delta") break;
    }
    let end;
    for await (const event of await client.responses.retrieve(id, { stream: true, starting_after: last })) {
      assert.ok(event.sequence_number > last);
      last = event.sequence_number;
      end = event;
    }
    assert.equal(end.type, "response.completed");
    // `output_text` is a helper of whole responses only.
    const said = end.response.output.flatMap(({ content }) => content.map(({ text }) => text)).join("");
    assert.equal((await client.responses.retrieve(id)).output_text, said);
  },
};

await scenarios[scenario]();
