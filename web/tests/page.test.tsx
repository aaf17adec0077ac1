// @vitest-environment jsdom
import { act, type ReactNode } from "react";
import { createRoot } from "react-dom/client";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { connect, type Message, type Parley, type WatchedChat } from "../src/client";
import { Answer } from "../src/page/Answer";
import { Composer } from "../src/page/Composer";
import { ConnectionNotice } from "../src/page/ConnectionNotice";
import { ParleyContext, useObservable } from "../src/page/parley";
import { CHAT } from "./support/room";
import { FakeServer } from "./support/server";

let server: FakeServer;
let parley: Parley;
let unmount: () => void;

async function render(node: ReactNode): Promise<void> {
  const root = createRoot(document.body.appendChild(document.createElement("div")));
  await act(async () => root.render(<ParleyContext value={parley}>{node}</ParleyContext>));
  unmount = () => root.unmount();
}

const pass = (milliseconds: number) => act(() => vi.advanceTimersByTimeAsync(milliseconds));
const find = (testid: string) => document.querySelector<HTMLElement>(`[data-testid="${testid}"]`);

beforeEach(async () => {
  vi.stubGlobal("IS_REACT_ACT_ENVIRONMENT", true);
  vi.stubGlobal("matchMedia", () => ({ matches: true }));
  vi.useFakeTimers({
    toFake: ["setTimeout", "clearTimeout", "requestAnimationFrame", "cancelAnimationFrame", "Date"],
  });
  server = new FakeServer();
  parley = connect(server);
  await vi.advanceTimersByTimeAsync(0);
});

afterEach(async () => {
  await act(async () => unmount());
  parley.close();
  document.body.replaceChildren();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe("the composer", () => {
  const onSend = vi.fn();

  async function compose(text: string, key: KeyboardEventInit): Promise<KeyboardEvent> {
    onSend.mockClear();
    await render(
      <Composer
        chatId={null}
        onChange={() => undefined}
        onSend={onSend}
        onStop={() => undefined}
        running={false}
        text={text}
      />,
    );
    const event = new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true, ...key });
    await act(async () => find("composer")?.dispatchEvent(event));
    return event;
  }

  it("sends on Enter and keeps the focus", async () => {
    await compose("Hello", {});
    expect(onSend).toHaveBeenCalledWith("Hello");
    expect(document.activeElement).toBe(find("composer"));
  });

  it("breaks the line on Shift+Enter", async () => {
    const event = await compose("Hello", { shiftKey: true });
    expect(onSend).not.toHaveBeenCalled();
    expect(event.defaultPrevented).toBe(false);
  });

  it("leaves Enter to an input method that has just accepted a word, as Safari reports it", async () => {
    await compose("にほん", { keyCode: 229 });
    expect(onSend).not.toHaveBeenCalled();
  });

  it("leaves Enter to an input method that composes", async () => {
    await compose("にほん", { isComposing: true });
    expect(onSend).not.toHaveBeenCalled();
  });

  it("sends nothing that is empty", async () => {
    await compose(" \n ", {});
    expect(onSend).not.toHaveBeenCalled();
    expect(find("send")).toHaveProperty("disabled", true);
  });

  it("does not send what the server would refuse for its length, and says so", async () => {
    // The server's limit is 1024 bytes; each of these characters takes three.
    await compose("語".repeat(342), {});
    expect(onSend).not.toHaveBeenCalled();
    expect(document.querySelector("[role=alert]")?.textContent).toContain("too long");
  });
});

describe("the connection notice", () => {
  it("is silent about a line that is back at once, and says reconnecting when it is not", async () => {
    await render(<ConnectionNotice />);
    expect(find("connection")?.dataset.status).toBe("online");
    server.unreachable = true;
    act(() => server.socket.cut());
    await pass(100);
    expect(find("connection")?.dataset.status).toBe("reconnecting");
    expect(find("connection")?.textContent).toBe("");
    await pass(1_500);
    expect(find("connection")?.textContent).toBe("Reconnecting…");
    server.unreachable = false;
    await pass(15_000);
    expect(find("connection")?.dataset.status).toBe("online");
    expect(find("connection")?.textContent).toBe("");
  });

  it("offers to connect again after a refusal", async () => {
    await render(<ConnectionNotice />);
    act(() => server.socket.cut(4401));
    await pass(1_500);
    await act(async () => document.querySelector("button")?.click());
    await pass(100);
    expect(find("connection")?.dataset.status).toBe("online");
  });
});

let renders = 0;

function Probe() {
  const { state } = useObservable(parley.watch(CHAT));
  renders += 1;
  return <p data-testid="probe">{state.generation?.text}</p>;
}

describe("an answer that is over", () => {
  const show = (message: Partial<Message>) =>
    render(
      <Answer
        busy={false}
        chat={{ regenerate: vi.fn() } as unknown as WatchedChat}
        generation={null}
        message={
          {
            id: "a",
            chat_id: CHAT,
            parent_id: null,
            role: "assistant",
            author_id: null,
            content: "",
            reasoning: "",
            status: "complete",
            model: null,
            error: null,
            usage: null,
            created_at: "2026-11-22T21:04:05Z",
            version: 1,
            ...message,
          } satisfies Message
        }
        onAttempt={() => undefined}
        onChoose={() => undefined}
        siblings={["a"]}
      />,
    );
  const error = (retryable: boolean) => ({ code: "rate_limited", message: "Later.", retryable });

  it("offers Retry where that can help", async () => {
    await show({ status: "failed", error: error(true) });
    expect(find("retry")).not.toBeNull();
    expect(find("regenerate")).toBeNull();
  });

  it("offers only to answer again where a retry cannot help", async () => {
    await show({ status: "failed", error: error(false) });
    expect(find("retry")).toBeNull();
    expect(find("regenerate")).not.toBeNull();
  });

  it("says that it was cut at the limit of its length", async () => {
    await show({ content: "Night tr", finish_reason: "length" });
    expect(find("ending")?.textContent).toContain("limit");
  });

  it("says nothing of an ordinary end", async () => {
    await show({ content: "Night trains.", finish_reason: "stop" });
    expect(find("ending")).toBeNull();
  });
});

describe("rendering", () => {
  it("happens once in a frame of the screen, however many deltas came", async () => {
    await render(<Probe />);
    await pass(50);
    server.act({ do: "ask", text: "Hi" });
    server.act({ do: "delta", text: "." });
    await pass(50);
    const before = renders;
    for (let count = 0; count < 1000; count++) server.act({ do: "delta", text: "." });
    await pass(50);
    expect(renders - before).toBe(1);
    expect(find("probe")?.textContent).toHaveLength(1001);
  });
});
