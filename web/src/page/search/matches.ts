/** A piece of a text, and whether it is what was looked for. */
export interface Piece {
  readonly text: string;
  readonly match: boolean;
}

const segmenter = new Intl.Segmenter(undefined, { granularity: "grapheme" });

/** As the server folds: whatever the capitals, the composition and the width. */
function fold(text: string): string {
  return text.normalize("NFKC").replace(/\s+/g, " ").toUpperCase();
}

/** Cuts a text at the words of a query, as the server finds them. */
export function piecesOf(text: string, query: string): Piece[] {
  const words = fold(query)
    .split(" ")
    .filter((word) => word !== "");
  // Folding changes lengths: each character of the folded text is of one of these.
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

/** Whether a text holds each word of a query. */
export function holds(text: string, query: string): boolean {
  const folded = fold(text);
  return fold(query)
    .split(" ")
    .every((word) => folded.includes(word));
}
