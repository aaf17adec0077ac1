import katex from "katex";
import "katex/dist/katex.min.css";

/** Characters of a formula; a longer one is shown as it was written. */
const LONGEST = 5_000;

/** Typesets a formula within an element, and says whether it could. */
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
