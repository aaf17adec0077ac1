import { describe, expect, it } from "vitest";
import { type AnswerPart, type Message, partsOf, type Span, type ToolCall } from "../src/index.ts";
import { aMessage } from "../src/testing/room.ts";

const CLOCK: ToolCall = { id: "call_1", name: "clock" };
const WEATHER: ToolCall = { id: "call_2", name: "weather" };

function parts(message: Partial<Message>): (string | undefined)[] {
  const found = partsOf({ message: aMessage({ role: "assistant", ...message }), generation: null });
  expect(new Set(found.map(({ key }) => key)).size, "keys are unique").toBe(found.length);
  return found.map((part: AnswerPart) => (part.kind === "text" ? part.text : `<${part.call.name}>`));
}

function span(kind: Span["kind"], length?: number): Span {
  return length === undefined ? { kind } : { kind, length };
}

describe("the parts of an answer", () => {
  it("are its text where it called no tools", () => {
    expect(parts({ content: "Noon.", reasoning: "Hm" })).toEqual(["Noon."]);
    expect(parts({ content: "" })).toEqual([]);
  });

  it("are its text and its calls in the order in which the model wrote them", () => {
    const layout = [span("text", 2), span("tool"), span("reasoning", 2), span("tool"), span("text", 5)];
    const message = { content: "🕛!Noon.", reasoning: "Hm", tool_calls: [CLOCK, WEATHER], layout };
    expect(parts(message)).toEqual(["🕛!", "<clock>", "<weather>", "Noon."]);
  });

  it("are the text and then the calls where no order is known", () => {
    expect(parts({ content: "Look:", tool_calls: [CLOCK] })).toEqual(["Look:", "<clock>"]);
  });

  it("are one text where only reasoning is between", () => {
    const layout = [span("text", 3), span("reasoning", 2), span("text", 3), span("tool")];
    expect(parts({ content: "OneTwo", reasoning: "Hm", tool_calls: [CLOCK], layout })).toEqual([
      "OneTwo",
      "<clock>",
    ]);
  });

  it("lose no text where the layout is shorter than it", () => {
    const layout = [span("text", 3), span("tool")];
    expect(parts({ content: "OneTwo", tool_calls: [CLOCK], layout })).toEqual(["One", "<clock>", "Two"]);
  });
});
