// @vitest-environment jsdom
import { afterEach, describe, expect, it, vi } from "vitest";
import { copyText } from "../../src/page/ui/clipboard";

afterEach(() => {
  vi.unstubAllGlobals();
  Reflect.deleteProperty(document, "execCommand");
});

/** A page on a plain-HTTP host: it has no `navigator.clipboard`. */
function insecure(copy: () => boolean): void {
  vi.stubGlobal("navigator", { clipboard: undefined });
  Object.defineProperty(document, "execCommand", { value: copy, configurable: true });
}

describe("copying", () => {
  it("uses the clipboard where the browser offers it", async () => {
    const writeText = vi.fn().mockResolvedValue(undefined);
    vi.stubGlobal("navigator", { clipboard: { writeText } });
    await copyText("a text");
    expect(writeText).toHaveBeenCalledWith("a text");
  });

  it("copies a selection on a plain-HTTP host, leaves nothing behind and gives the focus back", async () => {
    const button = document.body.appendChild(document.createElement("button"));
    button.focus();
    let selected = "";
    insecure(() => {
      const area = document.activeElement as HTMLTextAreaElement;
      selected = area.value.slice(area.selectionStart, area.selectionEnd);
      return true;
    });
    await copyText("two\nlines");
    expect(selected).toBe("two\nlines");
    expect(document.querySelector("textarea")).toBeNull();
    expect(document.activeElement).toBe(button);
  });

  it("reports that the browser does not allow it", async () => {
    insecure(() => false);
    await expect(copyText("a text")).rejects.toThrow("does not allow");
    expect(document.querySelector("textarea")).toBeNull();
  });
});
