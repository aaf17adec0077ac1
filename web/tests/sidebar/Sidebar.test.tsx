// @vitest-environment jsdom
import { describe, expect, it } from "vitest";
import { groupsOf } from "../../src/page/sidebar/Sidebar";

describe("the list of chats", () => {
  it("is grouped by the days on which they were last used", () => {
    const now = new Date(2026, 4, 20, 9, 0);
    const chat = (id: string, day: number, hour: number) => ({
      id,
      owner_id: "",
      title: id,
      model: null,
      system_prompt: null,
      tip_id: null,
      created_at: "",
      updated_at: new Date(2026, 4, day, hour).toISOString(),
      version: 1,
      running: false,
    });
    const groups = groupsOf([chat("a", 20, 0), chat("b", 19, 23), chat("c", 14, 1), chat("d", 1, 1)], now);
    expect(groups.map(({ name, chats }) => [name, chats.map(({ id }) => id).join()])).toEqual([
      ["Today", "a"],
      ["Yesterday", "b"],
      ["Previous 7 days", "c"],
      ["Previous 30 days", "d"],
    ]);
  });
});
