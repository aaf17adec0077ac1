import { connect, type Parley } from "parley-client";
import { FakeServer } from "parley-client/testing";
import { act, type ReactNode } from "react";
import { createRoot } from "react-dom/client";
import { afterEach, beforeEach, vi } from "vitest";
import { ParleyContext } from "../../src/page/session/context";

/** Components of the page on a client of a server in memory, created for each test, with fake timers. */
export class PageSetup {
  server = new FakeServer();
  parley!: Parley;
  unmount: () => void = () => undefined;

  /** Creates it before each test of the file, and ends it after. */
  static use(): PageSetup {
    const page = new PageSetup();
    beforeEach(async () => {
      vi.stubGlobal("IS_REACT_ACT_ENVIRONMENT", true);
      vi.stubGlobal("matchMedia", () => ({ matches: true }));
      // jsdom has no modal dialogues.
      if (typeof HTMLDialogElement !== "undefined") HTMLDialogElement.prototype.showModal = () => undefined;
      vi.useFakeTimers({
        toFake: [
          "setTimeout",
          "clearTimeout",
          "requestAnimationFrame",
          "cancelAnimationFrame",
          "Date",
          "performance",
        ],
      });
      page.server = new FakeServer();
      page.parley = connect(page.server);
      await vi.advanceTimersByTimeAsync(0);
    });
    afterEach(async () => {
      await act(async () => page.unmount());
      page.parley.close();
      document.body.replaceChildren();
      vi.useRealTimers();
      vi.unstubAllGlobals();
    });
    return page;
  }

  async render(node: ReactNode): Promise<void> {
    const root = createRoot(document.body.appendChild(document.createElement("div")));
    await act(async () => root.render(<ParleyContext value={this.parley}>{node}</ParleyContext>));
    this.unmount = () => root.unmount();
  }

  /** Replaces the client, as for a server that has changed since. */
  reconnect(): void {
    this.parley.close();
    this.parley = connect(this.server);
  }

  /** Advances the clock. */
  pass(milliseconds: number): Promise<unknown> {
    return act(() => vi.advanceTimersByTimeAsync(milliseconds));
  }
}

/** Returns a button by its label or its text. */
export function findButton(name: string): HTMLButtonElement | null {
  const buttons = [...document.querySelectorAll<HTMLButtonElement>("button")];
  return buttons.find((button) => (button.ariaLabel ?? button.textContent)?.trim() === name) ?? null;
}

/** Types a text into a field, as React sees it. */
export function type(element: HTMLElement | null, text: string): void {
  const input = element as HTMLInputElement;
  Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value")?.set?.call(input, text);
  input.dispatchEvent(new Event("input", { bubbles: true }));
}

export function find(testid: string): HTMLElement | null {
  return document.querySelector<HTMLElement>(`[data-testid="${testid}"]`);
}
