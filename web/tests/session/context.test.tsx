// @vitest-environment jsdom

import { CHAT, problem } from "parley-client/testing";
import { describe, expect, it } from "vitest";
import { useConfig, useObservable } from "../../src/page/session/context";
import { find, PageSetup } from "../support/page";

const page = PageSetup.use();

let renders = 0;

function Probe() {
  const { state } = useObservable(page.parley.watch(CHAT));
  renders += 1;
  return <p data-testid="probe">{state.generation?.text}</p>;
}

describe("rendering", () => {
  it("happens once in a frame of the screen, however many deltas came", async () => {
    await page.render(<Probe />);
    await page.pass(50);
    page.server.act({ do: "ask", text: "Hi" });
    page.server.act({ do: "delta", text: "." });
    await page.pass(50);
    const before = renders;
    for (let count = 0; count < 1000; count++) page.server.act({ do: "delta", text: "." });
    await page.pass(50);
    expect(renders - before).toBe(1);
    expect(find("probe")?.textContent).toHaveLength(1001);
  });
});

describe("the configuration", () => {
  function Configured() {
    return <p data-testid="configured">{useConfig()?.push_url}</p>;
  }

  it("is requested until the server returns it", async () => {
    page.server.overrides.set("GET /v1/config", () => problem(503, "unavailable"));
    page.reconnect();
    await page.render(<Configured />);
    await page.pass(50);
    expect(find("configured")?.textContent).toBe("");
    page.server.overrides.clear();
    await page.pass(10_000);
    expect(find("configured")?.textContent).toBe("/ws");
  });
});
