// @vitest-environment jsdom

import { json } from "parley-client/testing";
import { act } from "react";
import { describe, expect, it, vi } from "vitest";
import { ModelPicker } from "../../src/page/composer/ModelPicker";
import { find, PageSetup } from "../support/page";

const page = PageSetup.use();

describe("the choice of the model", () => {
  const offered = {
    name: "small-2",
    display_name: "Small",
    default: true,
    context_tokens: null,
    price: null,
  };
  const options = () => [...document.querySelectorAll("option")].map(({ value, text }) => [value, text]);

  it("shows the names for people, and chooses by the names for the server", async () => {
    const items = ["small-2", "large-1"];
    page.server.overrides.set("GET /v1/models", () =>
      json({ items, default: "small-2", details: [offered] }),
    );
    const chosen = vi.fn();
    await page.render(<ModelPicker model={null} onChange={chosen} />);
    await page.pass(50);
    expect(options()).toEqual([
      ["small-2", "Small"],
      ["large-1", "large-1"],
    ]);
    const select = find("model") as HTMLSelectElement;
    await act(async () => {
      select.value = "large-1";
      select.dispatchEvent(new Event("change", { bubbles: true }));
    });
    expect(chosen).toHaveBeenCalledWith("large-1");
  });

  it("still shows the model of a chat that is not offered any more", async () => {
    page.server.overrides.set("GET /v1/models", () => json({ items: ["small-2"], default: "small-2" }));
    await page.render(<ModelPicker model="old" onChange={() => undefined} />);
    await page.pass(50);
    expect(options().map(([name]) => name)).toEqual(["old", "small-2"]);
    expect(find("model")).toHaveProperty("value", "old");
  });
});
