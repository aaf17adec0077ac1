/** The error of an action; nothing when there is none. */
export function Problem({ text }: { readonly text: string | null }) {
  if (text === null) return null;
  return (
    <p
      className="my-2 rounded-md bg-destructive-soft px-3 py-2 text-destructive text-sm"
      data-testid="problem"
      role="alert"
    >
      {text}
    </p>
  );
}
