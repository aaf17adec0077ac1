import { type KeyboardEvent, type ReactNode, useId, useRef, useState } from "react";

export interface Tab {
  readonly id: string;
  readonly label: string;
  readonly panel: ReactNode;
}

interface TabsProps {
  /** Names the list of tabs for screen readers. */
  readonly label: string;
  readonly tabs: readonly Tab[];
}

/** Tabs with the standard keys: arrows, Home and End choose; Tab goes to the panel. */
export function Tabs({ label, tabs }: TabsProps) {
  const [chosen, setChosen] = useState(tabs[0]?.id ?? "");
  const list = useRef<HTMLDivElement>(null);
  const prefix = useId();
  const current = tabs.find(({ id }) => id === chosen) ?? tabs[0];

  const onKeyDown = (event: KeyboardEvent) => {
    const index = tabs.findIndex(({ id }) => id === current?.id);
    const target = {
      ArrowRight: tabs[(index + 1) % tabs.length],
      ArrowLeft: tabs.at(index - 1),
      Home: tabs[0],
      End: tabs.at(-1),
    }[event.key];
    if (target === undefined) return;
    event.preventDefault();
    setChosen(target.id);
    list.current?.querySelector<HTMLElement>(`[data-tab="${target.id}"]`)?.focus();
  };

  return (
    <>
      <div aria-label={label} className="tabs" onKeyDown={onKeyDown} ref={list} role="tablist">
        {tabs.map(({ id, label }) => (
          <button
            aria-controls={`${prefix}panel`}
            aria-selected={id === current?.id}
            className="tab"
            data-tab={id}
            data-testid={`tab-${id}`}
            id={`${prefix}${id}`}
            key={id}
            onClick={() => setChosen(id)}
            role="tab"
            tabIndex={id === current?.id ? 0 : -1}
            type="button"
          >
            {label}
          </button>
        ))}
      </div>
      <div
        aria-labelledby={`${prefix}${current?.id}`}
        className="min-h-0 flex-1 overflow-y-auto px-5 py-4"
        id={`${prefix}panel`}
        key={current?.id}
        role="tabpanel"
        tabIndex={-1}
      >
        {current?.panel}
      </div>
    </>
  );
}
