import katex from "katex";
import "katex/dist/katex.min.css";

/** Characters of the longest formula that is typeset. */
const LONGEST = 5_000;

/** Typesets a formula within an element; returns whether that succeeded. */
export function draw(text: string, display: boolean, place: HTMLElement): boolean {
  if (text.length > LONGEST) return false;
  try {
    katex.render(text, place, {
      displayMode: display,
      throwOnError: true,
      strict: "ignore",
      trust: false,
      maxExpand: 200,
      maxSize: 20,
    });
    return true;
  } catch {
    place.replaceChildren();
    return false;
  }
}
