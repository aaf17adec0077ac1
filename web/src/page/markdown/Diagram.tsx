import { memo, useEffect, useState } from "react";
import { Code } from "./Code";
import { type Drawing, drawDiagram } from "./drawing";

/** Milliseconds without a change after which a diagram is drawn. */
const DEBOUNCE = 300;
const DARK = "(prefers-color-scheme: dark)";

/** A Mermaid diagram: a picture with its source below, or the source alone until it is drawn. */
export const Diagram = memo(function Diagram({ text }: { readonly text: string }) {
  const dark = useDark();
  const [drawing, setDrawing] = useState<(Drawing & { readonly of: string }) | null>(null);

  useEffect(() => {
    let current = true;
    const timer = setTimeout(() => {
      drawDiagram(text, dark).then(
        (drawn) => current && setDrawing(drawn === null ? null : { ...drawn, of: text }),
        () => undefined,
      );
    }, DEBOUNCE);
    return () => {
      current = false;
      clearTimeout(timer);
    };
  }, [text, dark]);

  if (drawing?.of !== text) return <Code language="mermaid" text={text} />;
  return (
    <figure className="diagram">
      <div aria-label="Diagram" className="diagram-picture" role="group" tabIndex={0}>
        <img alt={text} height={drawing.height} src={drawing.src} width={drawing.width} />
      </div>
      <details>
        <summary>Text of the diagram</summary>
        <Code language="mermaid" text={text} />
      </details>
    </figure>
  );
});

function useDark(): boolean {
  const [dark, setDark] = useState(() => window.matchMedia?.(DARK).matches ?? false);
  useEffect(() => {
    const query = window.matchMedia(DARK);
    const change = () => setDark(query.matches);
    query.addEventListener("change", change);
    return () => query.removeEventListener("change", change);
  }, []);
  return dark;
}
