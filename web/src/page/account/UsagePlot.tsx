import { useId, useState } from "react";
import type { DayUsage } from "./usageSums";

const WIDTH = 600;
const HEIGHT = 150;
/** The part of a day's width that separates its bar from the next. */
const GAP = 0.2;

const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const shortDate = new Intl.DateTimeFormat("en", { day: "numeric", month: "short", timeZone: "UTC" });

/** Tokens by day as stacked bars, with the same numbers as a table. */
export function UsagePlot({ days }: { readonly days: readonly DayUsage[] }) {
  const [asTable, setAsTable] = useState(false);
  const id = useId();
  const most = Math.max(1, ...days.map(({ input, output }) => input + output));
  const step = WIDTH / days.length;
  const heightOf = (tokens: number) => (tokens / most) * HEIGHT;
  const first = days[0]?.day;
  const last = days.at(-1)?.day;
  return (
    <figure className="mt-4" data-testid="usage-plot">
      <figcaption className="flex flex-wrap items-center gap-x-4 gap-y-1 text-sm" id={id}>
        <span className="font-medium">Tokens by day</span>
        <span className="flex items-center gap-1.5">
          <span aria-hidden="true" className="size-2.5 rounded-sm plot-input" /> in
        </span>
        <span className="flex items-center gap-1.5">
          <span aria-hidden="true" className="size-2.5 rounded-sm plot-output" /> out
        </span>
        <button
          aria-expanded={asTable}
          className="link-button ml-auto"
          onClick={() => setAsTable(!asTable)}
          type="button"
        >
          {asTable ? "Hide the table" : "Show as a table"}
        </button>
      </figcaption>
      <p aria-hidden="true" className="mt-2 text-muted-foreground text-xs">
        {compact.format(most)}
      </p>
      <svg
        aria-label={`Tokens by day; the most on one day were ${most.toLocaleString("en")}`}
        className="mt-1 block h-auto w-full"
        role="img"
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      >
        <line className="plot-line" x1="0" x2={WIDTH} y1="0" y2="0" />
        {days.map(({ day, input, output }, index) => {
          const x = index * step + (step * GAP) / 2;
          const width = step * (1 - GAP);
          return (
            <g data-day={day} key={day}>
              <title>{`${labelOf(day)}: ${input.toLocaleString("en")} in, ${output.toLocaleString("en")} out`}</title>
              <rect
                className="plot-input"
                height={heightOf(input)}
                width={width}
                x={x}
                y={HEIGHT - heightOf(input)}
              />
              <rect
                className="plot-output"
                height={heightOf(output)}
                width={width}
                x={x}
                y={HEIGHT - heightOf(input) - heightOf(output)}
              />
            </g>
          );
        })}
        <line className="plot-line" x1="0" x2={WIDTH} y1={HEIGHT} y2={HEIGHT} />
      </svg>
      {first !== undefined && last !== undefined && (
        <p aria-hidden="true" className="mt-1 flex justify-between text-muted-foreground text-xs">
          <span>{labelOf(first)}</span>
          <span>{labelOf(last)}</span>
        </p>
      )}
      <div className={asTable ? "" : "sr-only"}>
        <table aria-labelledby={id} className="table" data-testid="usage-days">
          <thead>
            <tr>
              <th scope="col">Day</th>
              <th scope="col">Tokens in</th>
              <th scope="col">Tokens out</th>
            </tr>
          </thead>
          <tbody>
            {days.map(({ day, input, output }) => (
              <tr key={day}>
                <th scope="row">{labelOf(day)}</th>
                <td>{input.toLocaleString("en")}</td>
                <td>{output.toLocaleString("en")}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </figure>
  );
}

function labelOf(day: string): string {
  return shortDate.format(new Date(day));
}
