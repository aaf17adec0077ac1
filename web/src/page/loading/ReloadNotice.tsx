import { useObservable } from "../session/context";
import { loadFailed } from "./lazy";

/** Shows that a module of the page could not be loaded, and offers to reload; the page works without it. */
export function ReloadNotice() {
  if (!useObservable(loadFailed)) return null;
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

/** Shown in place of the page after an error of rendering it. */
export function FailedPage() {
  return (
    <main className="flex h-full flex-col items-center justify-center gap-4 px-6 text-center" role="alert">
      <h1 className="font-medium">This page has failed.</h1>
      <p className="text-muted-foreground text-sm">Your chats are stored, and running answers continue.</p>
      <ReloadButton />
    </main>
  );
}
