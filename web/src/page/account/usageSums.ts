import type { DailyUsage } from "parley-client";

/** A day's tokens of all models. */
export interface DayUsage {
  /** `YYYY-MM-DD`, UTC. */
  readonly day: string;
  readonly input: number;
  readonly output: number;
}

export type ModelUsage = Omit<DailyUsage, "day">;

const DAY = 24 * 60 * 60 * 1000;

/** Returns the last days until today (UTC), also those without usage. */
export function byDay(usage: readonly DailyUsage[], days: number, now: Date): DayUsage[] {
  return Array.from({ length: days }, (_, index) => {
    const day = new Date(now.getTime() - (days - 1 - index) * DAY).toISOString().slice(0, 10);
    const lines = usage.filter((line) => line.day === day);
    return {
      day,
      input: lines.reduce((sum, line) => sum + line.input_tokens, 0),
      output: lines.reduce((sum, line) => sum + line.output_tokens, 0),
    };
  });
}

/** Returns the sums by model, the most used first. The cost of a model is null when no line has one. */
export function byModel(usage: readonly DailyUsage[]): ModelUsage[] {
  const models = new Map<string, ModelUsage>();
  for (const { day: _, ...line } of usage) {
    const before = models.get(line.model);
    models.set(line.model, before === undefined ? line : sum(before, line));
  }
  return [...models.values()].sort((one, other) => tokensOf(other) - tokensOf(one));
}

function sum(one: ModelUsage, other: ModelUsage): ModelUsage {
  return {
    model: one.model,
    answers: one.answers + other.answers,
    input_tokens: one.input_tokens + other.input_tokens,
    output_tokens: one.output_tokens + other.output_tokens,
    cost: one.cost === null && other.cost === null ? null : (one.cost ?? 0) + (other.cost ?? 0),
  };
}

function tokensOf({ input_tokens, output_tokens }: ModelUsage): number {
  return input_tokens + output_tokens;
}
