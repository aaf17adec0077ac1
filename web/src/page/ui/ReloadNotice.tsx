import { useObservable } from "../session/context";
import { incomplete } from "./lazy";

/** Says that a part of the page could not be loaded, and offers what helps: everything works on without it. */
export function ReloadNotice() {
  if (!useObservable(incomplete)) return null;
  return (
    <div className="notice" data-testid="reload" role="status">
      <span>A part of this page did not load; there may be a newer version.</span>
      <ReloadButton />
    </div>
  );
}

function ReloadButton() {
  return (
    <button className="button" onClick={() => location.reload()} type="button">
      Reload
    </button>
  );
}

/** In place of the page when it fails as a whole. */
export function FailedPage() {
  return (
    <main className="flex h-full flex-col items-center justify-center gap-4 px-6 text-center" role="alert">
      <h1 className="font-medium">This page ran into an error.</h1>
      <p className="text-muted-foreground text-sm">Your chats are stored, and answers go on without it.</p>
      <ReloadButton />
    </main>
  );
}
