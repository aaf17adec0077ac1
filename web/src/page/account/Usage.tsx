import type { Account, TokenUsage } from "parley-client";
import { useState } from "react";
import { Problem } from "../requests/Problem";
import { useLoaded } from "../requests/useLoaded";
import { UsagePlot } from "./UsagePlot";
import { byDay, byModel, lastDays, type ModelUsage } from "./usageSums";

const PERIODS = [7, 30, 90] as const;

/** The user's usage: tokens by day as a plot with its table, and by model with cost. */
export function Usage({ account }: { readonly account: Account }) {
  const [days, setDays] = useState<number>(30);
  const { value, problem } = useLoaded(String(days), () =>
    account.usage(lastDays(days, new Date())[0] ?? ""),
  );
  return (
    <>
      <label className="field max-w-40">
        Period
        <select
          className="input"
          data-testid="usage-period"
          onChange={(event) => setDays(Number(event.target.value))}
          value={days}
        >
          {PERIODS.map((period) => (
            <option key={period} value={period}>
              {period} days
            </option>
          ))}
        </select>
      </label>
      <Problem text={problem} />
      {value !== null && <UsageTables days={days} usage={value} />}
    </>
  );
}

function UsageTables({ usage, days }: { readonly usage: readonly TokenUsage[]; readonly days: number }) {
  const models = byModel(usage);
  const estimated = models.reduce((sum, line) => sum + line.estimated, 0);
  if (models.length === 0) {
    return <p className="mt-4 text-muted-foreground text-sm">Nothing was used in this period.</p>;
  }
  return (
    <>
      <UsagePlot days={byDay(usage, lastDays(days, new Date()))} />
      <table className="table" data-testid="usage-models">
        <caption className="sr-only">Usage by model</caption>
        <thead>
          <tr>
            <th scope="col">Model</th>
            <th scope="col">Answers</th>
            <th scope="col">Tokens in</th>
            <th scope="col">Tokens out</th>
            <th scope="col">Cost</th>
          </tr>
        </thead>
        <tbody>
          {models.map((line) => (
            <ModelRow key={line.model} line={line} />
          ))}
        </tbody>
      </table>
      {estimated > 0 && (
        <p className="mt-2 text-muted-foreground text-sm" data-testid="usage-estimated">
          The tokens of {estimated.toLocaleString("en")} of these answers are estimated: they were stopped or
          failed before the provider counted them.
        </p>
      )}
    </>
  );
}

const cost = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 4 });

function ModelRow({ line }: { readonly line: ModelUsage }) {
  return (
    <tr>
      <th scope="row">{line.model}</th>
      <td>{line.answers.toLocaleString("en")}</td>
      <td>{line.input.toLocaleString("en")}</td>
      <td>{line.output.toLocaleString("en")}</td>
      <td>{line.cost === null ? "–" : cost.format(line.cost)}</td>
    </tr>
  );
}
