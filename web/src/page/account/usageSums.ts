import type { TokenUsage } from "parley-client";

/** A day's tokens of all models. */
export interface DayUsage {
  /** `YYYY-MM-DD`, UTC. */
  readonly day: string;
  readonly input: number;
  readonly output: number;
}

/** The usage of a model. */
export interface ModelUsage {
  readonly model: string;
  readonly answers: number;
  /** How many of the answers have tokens that the provider did not count. */
  readonly estimated: number;
  readonly input: number;
  readonly output: number;
  /** Null: the model has no price. */
  readonly cost: number | null;
}

const DAY = 24 * 60 * 60 * 1000;

/** Returns the last days until today (UTC), oldest first. */
export function lastDays(count: number, now: Date): string[] {
  return Array.from({ length: count }, (_, index) =>
    new Date(now.getTime() - (count - 1 - index) * DAY).toISOString().slice(0, 10),
  );
}

/** Returns the sums of these days, also of those without usage. */
export function byDay(usage: readonly TokenUsage[], days: readonly string[]): DayUsage[] {
  return days.map((day) => {
    const lines = usage.filter((line) => line.day === day);
    return {
      day,
      input: lines.reduce((sum, line) => sum + line.input_tokens, 0),
      output: lines.reduce((sum, line) => sum + line.output_tokens, 0),
    };
  });
}

/** Returns the sums by model, the most used first. */
export function byModel(usage: readonly TokenUsage[]): ModelUsage[] {
  const models = new Map<string, ModelUsage>();
  for (const line of usage) {
    const before = models.get(line.model);
    const cost = line.cost ?? null;
    models.set(line.model, {
      model: line.model,
      answers: (before?.answers ?? 0) + line.answers,
      estimated: (before?.estimated ?? 0) + (line.estimated ?? 0),
      input: (before?.input ?? 0) + line.input_tokens,
      output: (before?.output ?? 0) + line.output_tokens,
      cost: cost === null ? (before?.cost ?? null) : (before?.cost ?? 0) + cost,
    });
  }
  return [...models.values()].sort((one, other) => other.input + other.output - one.input - one.output);
}
