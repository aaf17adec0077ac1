import { describe, expect, it } from "vitest";
import { containsWords, piecesOf } from "../../src/page/search/matches";

/** The text with its matches in brackets. */
function marked(text: string, query: string): string {
  return piecesOf(text, query)
    .map((piece) => (piece.match ? `[${piece.text}]` : piece.text))
    .join("");
}

describe("the matches of a search in a text", () => {
  it.each([
    ["The Nightjet from Vienna", "nightjet", "The [Nightjet] from Vienna"],
    ["The Nightjet from Vienna", "vienna night", "The [Night]jet from [Vienna]"],
    ["aXbxc", "x", "a[X]b[x]c"],
    ["Cafe\u0301 au lait", "café", "[Cafe\u0301] au lait"],
    ["Café", "cafe\u0301", "[Café]"],
    ["ｆｕｌｌ width", "full", "[ｆｕｌｌ] width"],
    ["Straße", "STRASSE", "[Straße]"],
    ["東京駅へ行く", "京駅", "東[京駅]へ行く"],
    ["a\nb", "a b", "[a]\n[b]"],
    ["👩‍👩‍👧 family", "family", "👩‍👩‍👧 [family]"],
    ["a.b", ".", "a[.]b"],
    ["nothing", "else", "nothing"],
    ["anything", "  ", "anything"],
  ])("%j with %j", (text, query, expected) => {
    expect(marked(text, query)).toBe(expected);
  });

  it("keep the text as it is", () => {
    const text = "Ｅ e\u0301 ﬁ Straße 東京 👩‍👩‍👧\n";
    for (const query of ["e", "fi", "s", "京", "👩"]) {
      expect(
        piecesOf(text, query)
          .map((piece) => piece.text)
          .join(""),
      ).toBe(text);
    }
  });

  it("are all there, or the text does not hold the query", () => {
    expect(containsWords("Night trains", "TRAIN night")).toBe(true);
    expect(containsWords("Night trains", "train day")).toBe(false);
  });
});
