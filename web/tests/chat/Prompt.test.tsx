// @vitest-environment jsdom

import { CHAT, problem } from "parley-client/testing";
import { act } from "react";
import { describe, expect, it } from "vitest";
import { entriesOf, type PromptEntry } from "../../src/page/chat/entries";
import { Prompt } from "../../src/page/chat/Prompt";
import { find, PageSetup } from "../support/page";

const page = PageSetup.use();

const draw = () => {
  const chat = page.parley.watch(CHAT);
  const [entry] = entriesOf(chat.getSnapshot(), null).filter(({ kind }) => kind === "prompt");
  return page.render(
    <ul>
      <Prompt
        readOnly={false}
        chat={chat}
        entry={entry as PromptEntry}
        onAction={() => undefined}
        onChoose={() => undefined}
        onEdit={() => undefined}
      />
    </ul>,
  );
};

describe("a message without a text, such as an image alone", () => {
  it("is shown as such", async () => {
    page.server.act({ do: "ask", text: "" });
    page.parley.watch(CHAT).subscribe(() => undefined);
    await page.pass(50);
    await draw();
    expect(find("message-user")?.textContent).toContain("This message has no text.");
  });
});

describe("a message that is not sent yet", () => {
  const POST = `POST /v1/chats/${CHAT}/messages`;

  it("is shown as waiting for the network, and can be discarded", async () => {
    page.server.unreachable = true;
    page.server.offline = true;
    page.server.emit("offline");
    page.parley.watch(CHAT).send("Hello");
    await draw();
    await page.pass(50);
    expect(document.body.textContent).toContain("Sent when you are online again");
    await act(async () =>
      document.querySelector<HTMLElement>('[aria-label="Do not send this message"]')?.click(),
    );
    expect(page.parley.watch(CHAT).getSnapshot().outbox).toEqual([]);
  });

  it("is shown as waiting when sending takes long", async () => {
    page.server.overrides.set(POST, () => new Promise<Response>(() => undefined));
    page.parley.watch(CHAT).send("Hello");
    await draw();
    await page.pass(4_000);
    expect(document.body.textContent).not.toContain("Waiting to be sent");
    await page.pass(2_000);
    expect(document.body.textContent).toContain("Waiting to be sent");
  });

  it("is shown with the limit that delays it, and the time after which it is sent", async () => {
    page.server.overrides.set(POST, () => problem(429, "too_many_prompts", { "retry-after": "20" }));
    page.parley.watch(CHAT).send("Hello");
    await page.pass(50);
    await draw();
    expect(find("limited")?.textContent).toBe("It is too_many_prompts. The next attempt is in 20 seconds.");
  });

  it("is shown with the time after which a spent budget allows it", async () => {
    page.server.overrides.set(POST, () => problem(429, "budget_spent", { "retry-after": "600" }));
    page.parley.watch(CHAT).send("Hello");
    await page.pass(50);
    await draw();
    expect(find("not-sent")?.textContent).toContain(
      "It is budget_spent. It can be sent in 10 minutes.Send again",
    );
  });

  it("offers to send it again where that can help", async () => {
    page.server.overrides.set(POST, () => problem(503, "unavailable"));
    page.parley.watch(CHAT).send("Hello");
    await page.pass(120_000);
    await draw();
    expect(find("not-sent")?.textContent).toBe("Not sent. It is unavailable.Send againEditDiscard");
  });

  it("offers only to edit or to discard it where sending it again cannot help", async () => {
    page.server.overrides.set(POST, () => problem(413, "too_large"));
    page.parley.watch(CHAT).send("Hello");
    await page.pass(100);
    page.parley.drafts.of(CHAT).write("World");
    await draw();
    expect(find("not-sent")?.textContent).toBe("Not sent. It is too_large.EditDiscard");
    await act(async () => find("not-sent")?.querySelector("button")?.click());
    expect(page.parley.drafts.of(CHAT).getSnapshot()).toBe("Hello\n\nWorld");
    expect(page.parley.watch(CHAT).getSnapshot().outbox).toEqual([]);
  });
});
