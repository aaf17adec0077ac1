// @vitest-environment jsdom
import { act, type ReactNode } from "react";
import { createRoot, type Root } from "react-dom/client";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ErrorBoundary } from "../../src/page/loading/ErrorBoundary";

let root: Root;

beforeEach(() => {
  vi.stubGlobal("IS_REACT_ACT_ENVIRONMENT", true);
  vi.stubGlobal("reportError", () => undefined);
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  root = createRoot(document.body.appendChild(document.createElement("div")));
});

afterEach(async () => {
  await act(async () => root.unmount());
  document.body.replaceChildren();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

const render = (node: ReactNode) => act(async () => root.render(node));

function Failing({ fails }: { readonly fails: boolean }) {
  if (fails) throw new Error("It failed.");
  return <p>drawn</p>;
}

describe("a component that fails", () => {
  it("is replaced by its fallback, and leaves the rest as it is", async () => {
    await render(
      <>
        <ErrorBoundary fallback={<p>plain</p>}>
          <Failing fails />
        </ErrorBoundary>
        <p>rest</p>
      </>,
    );
    expect(document.body.textContent).toBe("plainrest");
  });

  it("is rendered again when its condition changes", async () => {
    const answer = (over: boolean) => (
      <ErrorBoundary fallback={<p>plain</p>} retryOn={over}>
        <Failing fails={!over} />
      </ErrorBoundary>
    );
    await render(answer(false));
    expect(document.body.textContent).toBe("plain");
    await render(answer(true));
    expect(document.body.textContent).toBe("drawn");
  });
});
