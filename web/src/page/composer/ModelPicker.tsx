import type { Models } from "parley-client";
import { useEffect, useState } from "react";
import { useParley } from "../session/context";

interface ModelPickerProps {
  /** Null: the server's default. */
  readonly model: string | null;
  readonly disabled?: boolean;
  onChange(model: string): void;
}

/** Selects the model of the next answer. */
export function ModelPicker({ model, disabled = false, onChange }: ModelPickerProps) {
  const parley = useParley();
  const [models, setModels] = useState<Models | null>(null);

  useEffect(() => {
    let current = true;
    let asking = false;
    // Without the list, the default model is used; the list is requested again after a reconnect.
    const load = () => {
      if (asking) return;
      asking = true;
      parley.models().then(
        (list) => current && setModels(list),
        () => {
          asking = false;
        },
      );
    };
    load();
    const unsubscribe = parley.connection.subscribe(() => {
      if (parley.connection.getSnapshot().status === "online") load();
    });
    return () => {
      current = false;
      unsubscribe();
    };
  }, [parley]);

  const chosen = model ?? models?.default ?? null;
  if (models === null || chosen === null) return null;
  const names = models.items.includes(chosen) ? models.items : [chosen, ...models.items];
  const labels = new Map(models.details?.map(({ name, display_name }) => [name, display_name]));
  return (
    <select
      aria-label="Model"
      className="field-sizing-content max-w-48 truncate rounded-md bg-transparent px-2 py-1.5 text-muted-foreground text-sm hover:bg-accent hover:text-foreground"
      data-testid="model"
      disabled={disabled}
      onChange={(event) => onChange(event.target.value)}
      value={chosen}
    >
      {names.map((name) => (
        <option className="bg-card text-foreground" key={name} value={name}>
          {labels.get(name) ?? name}
        </option>
      ))}
    </select>
  );
}
