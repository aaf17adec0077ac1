// @vitest-environment jsdom

import { connect, type Message, type Parley, type WatchedChat } from "parley-client";
import { CHAT, FakeServer, json, problem } from "parley-client/testing";
import { act, type ReactNode } from "react";
import { createRoot } from "react-dom/client";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Answer } from "../src/page/Answer";
import { Composer } from "../src/page/Composer";
import { ConnectionNotice } from "../src/page/ConnectionNotice";
import { Prompt } from "../src/page/Prompt";
import { ParleyContext, useObservable } from "../src/page/parley";
import { EmptyPage } from "../src/page/places";
import { entriesOf, type PromptEntry } from "../src/page/transcript";

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

describe("the composer's one button", () => {
  const [onSend, onStop] = [vi.fn(), vi.fn()];
  const show = (text: string, running: boolean) =>
    render(
      <Composer
        chatId={null}
        onChange={() => undefined}
        onSend={onSend}
        onStop={onStop}
        running={running}
        text={text}
      />,
    );
  const press = () => act(async () => document.querySelector<HTMLElement>("form button")?.click());

  beforeEach(() => {
    onSend.mockClear();
    onStop.mockClear();
  });

  it("stops a running answer while nothing is written, and sends what is written", async () => {
    await show("", true);
    expect(find("send")).toBeNull();
    expect(document.querySelectorAll("form button")).toHaveLength(1);
    await press();
    expect(onStop).toHaveBeenCalledOnce();
    await act(async () => unmount());
    await show("And then?", true);
    expect(find("stop")).toBeNull();
    await press();
    expect(onSend).toHaveBeenCalledWith("And then?");
    expect(onStop).toHaveBeenCalledOnce();
  });

  it("does not stop the answer to what it sent by a double click", async () => {
    await show("", true);
    const second = new MouseEvent("click", { bubbles: true, cancelable: true, detail: 2 });
    await act(async () => find("stop")?.dispatchEvent(second));
    expect(onStop).not.toHaveBeenCalled();
    await press();
    expect(onStop).toHaveBeenCalledOnce();
  });

  it("stops nothing by Enter", async () => {
    await show("", true);
    const event = new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true });
    await act(async () => find("composer")?.dispatchEvent(event));
    expect(onStop).not.toHaveBeenCalled();
  });
});

describe("a message that is not sent yet", () => {
  const draw = () => {
    const chat = parley.watch(CHAT);
    const [entry] = entriesOf(chat.getSnapshot(), null).filter(({ kind }) => kind === "prompt");
    return render(
      <ul>
        <Prompt
          chat={chat}
          entry={entry as PromptEntry}
          onAttempt={() => undefined}
          onChoose={() => undefined}
          onEdit={() => undefined}
        />
      </ul>,
    );
  };
  const POST = `POST /v1/chats/${CHAT}/messages`;

  it("says that it waits for the network, and can be taken back", async () => {
    server.unreachable = true;
    server.offline = true;
    server.tell("offline");
    parley.watch(CHAT).send("Hello");
    await draw();
    await pass(50);
    expect(document.body.textContent).toContain("Sent when you are online again");
    await act(async () =>
      document.querySelector<HTMLElement>('[aria-label="Do not send this message"]')?.click(),
    );
    expect(parley.watch(CHAT).getSnapshot().outbox).toEqual([]);
  });

  it("says that it waits also when only sending it takes long", async () => {
    server.overrides.set(POST, () => new Promise<Response>(() => undefined));
    parley.watch(CHAT).send("Hello");
    await draw();
    await pass(4_000);
    expect(document.body.textContent).not.toContain("Waiting to be sent");
    await pass(2_000);
    expect(document.body.textContent).toContain("Waiting to be sent");
  });

  it("offers to send it again where that can help", async () => {
    server.overrides.set(POST, () => problem(503, "unavailable"));
    parley.watch(CHAT).send("Hello");
    await pass(120_000);
    await draw();
    expect(find("not-sent")?.textContent).toBe("Not sent. It is unavailable.Send againEditDiscard");
  });

  it("offers only to edit or to discard it where sending it again cannot help", async () => {
    server.overrides.set(POST, () => problem(413, "too_large"));
    parley.watch(CHAT).send("Hello");
    await pass(100);
    parley.drafts.of(CHAT).write("World");
    await draw();
    expect(find("not-sent")?.textContent).toBe("Not sent. It is too_large.EditDiscard");
    await act(async () => find("not-sent")?.querySelector("button")?.click());
    expect(parley.drafts.of(CHAT).getSnapshot()).toBe("Hello\n\nWorld");
    expect(parley.watch(CHAT).getSnapshot().outbox).toEqual([]);
  });
});

const opened = vi.fn();

describe("the connection notice", () => {
  it("says at once that the session is lost, and begins anew on request", async () => {
    await render(<ConnectionNotice onOpen={opened} />);
    server.overrides.set("POST /v1/session", ({ body }) =>
      (body as { start_over?: boolean }).start_over
        ? json({ user_id: "new", access_token: "t", expires_at: "2100-01-01T00:00:00Z" })
        : problem(401, "token_invalid"),
    );
    await act(async () => parley.http.startSession().catch(() => undefined));
    await pass(50);
    expect(find("connection")?.textContent).toContain("not valid here");
    await act(async () => find("start-over")?.click());
    await pass(50);
    expect(opened).toHaveBeenCalledWith(null);
    expect(find("connection")?.textContent).toBe("");
  });

  it("says that guests are not allowed, and not that it connects", async () => {
    server.overrides.set("POST /v1/session", () => problem(403, "guests_not_allowed"));
    const before = parley;
    parley = connect(server);
    before.close();
    await render(<ConnectionNotice onOpen={opened} />);
    await pass(60_000);
    expect(find("connection")?.dataset.session).toBe("refused");
    expect(find("connection")?.textContent).toContain("takes no guests");
    expect(find("connection")?.querySelector("button")).toBeNull();
  });

  it("is silent about a line that is back at once, and says reconnecting when it is not", async () => {
    await render(<ConnectionNotice onOpen={opened} />);
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
    await render(<ConnectionNotice onOpen={opened} />);
    act(() => server.socket.cut(4401));
    await pass(1_500);
    await act(async () => document.querySelector("button")?.click());
    await pass(100);
    expect(find("connection")?.dataset.status).toBe("online");
  });
});

describe("the start page", () => {
  const start = async (hostname: string) => {
    server.overrides.set("GET /v1/config", () =>
      json({ push_url: "/ws", demo: true, limits: { content_bytes: 1024 } }),
    );
    const before = parley;
    parley = connect(server);
    before.close();
    vi.stubGlobal("location", { hostname });
    await render(<EmptyPage />);
    await pass(50);
    return document.body.textContent;
  };

  it("tells who runs the demo how to use a real model", async () => {
    expect(await start("127.0.0.1")).toContain("OPENAI_API_KEY");
  });

  it("tells others only that it is a demo", async () => {
    const text = await start("chat.example");
    expect(text).toContain("demo model");
    expect(text).not.toContain("OPENAI_API_KEY");
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
