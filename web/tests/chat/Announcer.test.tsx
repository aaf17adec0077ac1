// @vitest-environment jsdom

import { emptyState, type Message } from "parley-client";
import { CHAT, Room } from "parley-client/testing";
import { act } from "react";
import { createRoot, type Root } from "react-dom/client";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Announcer } from "../../src/page/chat/Announcer";
import { entriesOf } from "../../src/page/chat/entries";

let root: Root;

beforeEach(() => {
  vi.stubGlobal("IS_REACT_ACT_ENVIRONMENT", true);
  root = createRoot(document.body.appendChild(document.createElement("div")));
});

afterEach(async () => {
  await act(async () => root.unmount());
  document.body.replaceChildren();
  vi.unstubAllGlobals();
});

async function announced(messages: readonly Message[]): Promise<string | null> {
  const entries = entriesOf(
    {
      state: { ...emptyState(CHAT), messages },
      outbox: [],
      phase: "ready",
      problem: null,
      loadingOlder: false,
      presence: [],
    },
    null,
  );
  await act(async () => root.render(<Announcer chatId={CHAT} entries={entries} />));
  return document.body.textContent;
}

describe("the announcer", () => {
  const room = new Room();
  room.ask("one");
  const running = [...room.messages];
  room.finish();
  const complete = [...room.messages];

  it("announces the start and the end of an answer", async () => {
    expect(await announced([])).toBe("");
    expect(await announced(running)).toBe("Thinking.");
    expect(await announced(complete)).toBe("The answer is complete.");
  });

  it("announces an answer that is complete when first shown, after its prompt", async () => {
    expect(await announced(complete.slice(0, 1))).toBe("");
    expect(await announced(complete)).toBe("The answer is complete.");
  });

  it("does not announce an answer that was complete before the chat was opened", async () => {
    expect(await announced([])).toBe("");
    expect(await announced(complete)).toBe("");
  });
});
