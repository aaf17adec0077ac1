import type { RunningAnswer, Span, ToolCall, ToolDelta } from "../protocol/protocol.ts";

/** What an answer holds in addition to its text, and in which order. */
export interface Calls {
  readonly tool_calls: readonly ToolCall[];
  /** The order of text, reasoning and calls. */
  readonly layout: readonly Span[];
}

/** The calls of an answer that has none, as far as it is known. */
export const NO_CALLS: Calls = { tool_calls: [], layout: [] };

/** Applies news of a tool call. News of a call that has not begun change nothing. */
export function mergeTool({ tool_calls, layout }: Calls, tool: ToolDelta): Calls {
  const { index, call, arguments: more = "" } = tool;
  const before = call ?? tool_calls[index];
  if (before === undefined || index > tool_calls.length) return { tool_calls, layout };
  const after = more === "" ? before : { ...before, arguments: (before.arguments ?? "") + more };
  const began = index === tool_calls.length;
  return {
    tool_calls: began ? [...tool_calls, after] : tool_calls.with(index, after),
    layout: began ? [...layout, { kind: "tool" }] : layout,
  };
}

/** Appends text or reasoning to the layout. */
export function extendLayout(
  layout: readonly Span[],
  kind: "text" | "reasoning",
  text: string,
): readonly Span[] {
  const length = lengthOf(text);
  if (length === 0) return layout;
  const last = layout.at(-1);
  return last?.kind === kind
    ? layout.with(-1, { kind, length: (last.length ?? 0) + length })
    : [...layout, { kind, length }];
}

/** The calls of a snapshot or of a message; an empty layout stands for reasoning, text, calls. */
export function callsOf(
  answer: Pick<RunningAnswer, "tool_calls" | "layout">,
  text: string,
  reasoning: string,
): Calls {
  const { tool_calls = [], layout = [] } = answer;
  if (layout.length > 0) return { tool_calls, layout };
  const spoken = extendLayout(extendLayout([], "reasoning", reasoning), "text", text);
  return { tool_calls, layout: [...spoken, ...tool_calls.map((): Span => ({ kind: "tool" }))] };
}

/** Counts Unicode code points, as the lengths of a layout do. */
function lengthOf(text: string): number {
  let length = 0;
  for (const _ of text) length += 1;
  return length;
}
