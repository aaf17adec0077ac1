// @vitest-environment jsdom

import { act } from "react";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { Composer } from "../../src/page/composer/Composer";
import { find, PageSetup } from "../support/page";

const page = PageSetup.use();

describe("the composer", () => {
  const onSend = vi.fn();

  async function compose(text: string, key: KeyboardEventInit): Promise<KeyboardEvent> {
    onSend.mockClear();
    await page.render(
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

  it("does not send a message over the server's limit, and shows an error", async () => {
    // The server's limit is 1024 bytes; each of these characters takes three.
    await compose("語".repeat(342), {});
    expect(onSend).not.toHaveBeenCalled();
    expect(document.querySelector("[role=alert]")?.textContent).toContain("too long");
  });
});

describe("the composer's one button", () => {
  const [onSend, onStop] = [vi.fn(), vi.fn()];
  const show = (text: string, running: boolean) =>
    page.render(
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
    await act(async () => page.unmount());
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
