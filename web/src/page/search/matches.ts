/** A piece of a text, and whether it matches the query. */
export interface Piece {
  readonly text: string;
  readonly match: boolean;
}

const segmenter = new Intl.Segmenter(undefined, { granularity: "grapheme" });

/** Normalizes case, composition and width as the server does. */
function fold(text: string): string {
  return text.normalize("NFKC").replace(/\s+/g, " ").toUpperCase();
}

/** Splits a text at the matches of a query's words, by the server's rules. */
export function piecesOf(text: string, query: string): Piece[] {
  const words = fold(query)
    .split(" ")
    .filter((word) => word !== "");
  // Folding changes lengths: each folded character maps to one of these.
  const characters = [...segmenter.segment(text)].map(({ segment }) => segment);
  let folded = "";
  const owners: number[] = [];
  characters.forEach((character, index) => {
    const piece = fold(character);
    folded += piece;
    for (let at = 0; at < piece.length; at++) owners.push(index);
  });
  const marked = new Set<number>();
  for (const word of words) {
    for (let at = folded.indexOf(word); at >= 0; at = folded.indexOf(word, at + word.length)) {
      for (let inside = at; inside < at + word.length; inside++) marked.add(owners[inside] ?? -1);
    }
  }
  const pieces: { text: string; match: boolean }[] = [];
  characters.forEach((character, index) => {
    const last = pieces.at(-1);
    const match = marked.has(index);
    if (last?.match === match) last.text += character;
    else pieces.push({ text: character, match });
  });
  return pieces;
}

/** Whether a text contains each word of a query. */
export function containsWords(text: string, query: string): boolean {
  const folded = fold(text);
  return fold(query)
    .split(" ")
    .every((word) => folded.includes(word));
}
