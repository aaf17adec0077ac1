import { memo, useEffect, useRef, useState } from "react";
import { LazyModule, useLazyModule } from "../loading/lazy";

export const typesetter = new LazyModule(() => import("./katex"));

interface MathsProps {
  readonly text: string;
  readonly source: string;
  readonly display: boolean;
}

/** A formula: typeset once KaTeX is loaded; its source until then, and when it cannot be typeset. */
export const Maths = memo(function Maths({ text, source, display }: MathsProps) {
  const module = useLazyModule(typesetter);
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
