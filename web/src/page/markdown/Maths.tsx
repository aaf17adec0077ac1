import { memo, useEffect, useRef, useState } from "react";
import { Part, usePart } from "../ui/lazy";

export const typesetter = new Part(() => import("./katex"));

interface MathsProps {
  readonly text: string;
  readonly source: string;
  readonly display: boolean;
}

/** A formula: typeset once KaTeX is loaded, and as it was written until then or when it cannot be. */
export const Maths = memo(function Maths({ text, source, display }: MathsProps) {
  const module = usePart(typesetter);
  const place = useRef<HTMLSpanElement>(null);
  const [drawn, setDrawn] = useState<string | null>(null);

  useEffect(() => {
    if (module === null || place.current === null) return;
    setDrawn(module.draw(text, display, place.current) ? text : null);
  }, [module, text, display]);

  return (
    <span className={display ? "maths maths-display" : "maths"} data-drawn={drawn === text} dir="ltr">
      {drawn !== text && <span className="maths-source">{source}</span>}
      <span
        hidden={drawn !== text}
        ref={place}
        {...(display && { role: "group", "aria-label": "Formula", tabIndex: 0 })}
      />
    </span>
  );
});
