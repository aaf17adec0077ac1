import type { ToolCall as Call } from "parley-client";
import { useState } from "react";
import { AlertIcon, ToolIcon } from "../ui/icons";
import { durationOf } from "../ui/time";

interface ToolCallProps {
  readonly call: Call;
  /** Whether the answer runs, so that a call without a result may still get one. */
  readonly running: boolean;
  /** Approves or denies the call; null where this user may not. */
  onDecide: ((approve: boolean) => Promise<void>) | null;
}

const STATUS: Readonly<Record<NonNullable<Call["status"]>, string>> = {
  called: "Called",
  awaiting_approval: "Waits for approval",
  running: "Running…",
  complete: "Done",
  failed: "Failed",
  denied: "Denied",
};

/** Characters and lines of the longest text that is shown whole. */
const MAX_CHARACTERS = 2000;
const MAX_LINES = 20;

/** A call of a tool: its name, arguments, status and result. */
export function ToolCall({ call, running, onDecide }: ToolCallProps) {
  const { name, server, status = "called", seconds } = call;
  const failed = status === "failed";
  const active = running && (status === "running" || (status === "called" && server != null));
  const args = call.arguments ?? "";
  return (
    <section
      aria-busy={active}
      aria-label={`Tool ${name}`}
      className="tool-call"
      data-status={status}
      data-testid="tool-call"
    >
      <div className="flex flex-wrap items-center gap-x-2 gap-y-1">
        {failed ? <AlertIcon className="size-4 text-destructive" /> : <ToolIcon />}
        <h3 className="min-w-0 break-words font-medium">{name}</h3>
        {server != null && <span className="text-muted-foreground">on {server}</span>}
        <span
          className={`ml-auto text-muted-foreground ${active ? "shimmer" : ""}`}
          data-testid="tool-status"
        >
          {active ? STATUS.running : STATUS[status]}
          {seconds != null && `, ${durationOf(seconds)}`}
        </span>
      </div>
      {/* The arguments of a call that waits for approval are what is approved. */}
      {args !== "" && <Folded label="Arguments" open={status === "awaiting_approval"} text={args} />}
      {call.result != null && <Folded label={failed ? "Error" : "Result"} open={failed} text={call.result} />}
      {status === "awaiting_approval" && running && onDecide !== null && (
        <Approval name={name} onDecide={onDecide} />
      )}
    </section>
  );
}

interface FoldedProps {
  readonly label: string;
  /** Whether it is open unless the reader closed it. */
  readonly open: boolean;
  readonly text: string;
}

/** A text behind its label; a long one is cut until the reader asks for the rest. */
function Folded({ label, open, text }: FoldedProps) {
  const [chosen, setChosen] = useState<boolean | null>(null);
  const [whole, setWhole] = useState(false);
  const shown = chosen ?? open;
  const start = cut(text);
  const long = start.length < text.length;
  return (
    <details className="mt-1.5" data-testid={`tool-${label.toLowerCase()}`} open={shown}>
      {/* biome-ignore lint/a11y/noStaticElementInteractions: a summary is a button by itself */}
      <summary
        className="w-fit select-none rounded text-muted-foreground hover:text-foreground"
        onClick={(event) => {
          event.preventDefault();
          setChosen(!shown);
        }}
      >
        {label}
      </summary>
      <pre className="tool-text" dir="ltr">
        {long && !whole ? `${start}…` : text}
      </pre>
      {long && (
        <button
          aria-expanded={whole}
          className="min-h-8 text-muted-foreground underline underline-offset-4 hover:text-foreground"
          data-testid="tool-show-all"
          onClick={() => setWhole(!whole)}
          type="button"
        >
          {whole ? "Show less" : `Show all ${text.length.toLocaleString("en")} characters`}
        </button>
      )}
    </details>
  );
}

interface ApprovalProps {
  readonly name: string;
  onDecide(approve: boolean): Promise<void>;
}

/** Asks whether the call may run. */
function Approval({ name, onDecide }: ApprovalProps) {
  const [sent, setSent] = useState(false);
  const decide = (approve: boolean) => {
    setSent(true);
    // After a refusal the reader can decide again; after a decision the call's status changes.
    onDecide(approve).catch(() => setSent(false));
  };
  return (
    <div className="mt-2 flex gap-2">
      <button
        aria-label={`Approve the call of ${name}`}
        className="button py-1"
        data-testid="tool-approve"
        disabled={sent}
        onClick={() => decide(true)}
        type="button"
      >
        Approve
      </button>
      <button
        aria-label={`Deny the call of ${name}`}
        className="button py-1"
        data-testid="tool-deny"
        disabled={sent}
        onClick={() => decide(false)}
        type="button"
      >
        Deny
      </button>
    </div>
  );
}

/** Returns the beginning of a text that is shown at first. */
function cut(text: string): string {
  const lines = text.split("\n", MAX_LINES + 1);
  const start = lines.length > MAX_LINES ? lines.slice(0, MAX_LINES).join("\n") : text;
  return start.length > MAX_CHARACTERS ? start.slice(0, MAX_CHARACTERS) : start;
}
