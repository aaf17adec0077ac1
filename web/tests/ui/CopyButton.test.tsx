// @vitest-environment jsdom

import { act } from "react";
import { describe, expect, it } from "vitest";
import { CopyButton } from "../../src/page/ui/CopyButton";
import { findButton, PageSetup } from "../support/page";

const page = PageSetup.use();

describe("the copy button", () => {
  it("shows that the browser does not allow copying", async () => {
    await page.render(<CopyButton label="Copy" text="a text" />);
    const before = document.querySelector("svg")?.outerHTML;
    await act(async () => findButton("Copy")?.click());
    await page.pass(50);
    expect(findButton("The browser does not allow copying")?.title).toBe(
      "The browser does not allow copying",
    );
    expect(document.querySelector("svg")?.outerHTML).not.toBe(before);
    await page.pass(2_000);
    expect(findButton("Copy")).not.toBeNull();
  });
});
