/** A request of the page to the document that draws diagrams. */
export interface DrawRequest {
  readonly kind: "draw";
  readonly id: number;
  readonly text: string;
  readonly dark: boolean;
}

/** A response of that document; `svg` is null for an invalid diagram. */
export type DrawAnswer =
  | { readonly kind: "ready" }
  | { readonly kind: "drawn"; readonly id: number; readonly svg: string | null };

export function isRequest(data: unknown): data is DrawRequest {
  const request = data as Partial<DrawRequest> | null;
  return request?.kind === "draw" && typeof request.id === "number" && typeof request.text === "string";
}

export function isAnswer(data: unknown): data is DrawAnswer {
  const answer = data as Partial<Record<"kind" | "id" | "svg", unknown>> | null;
  if (answer?.kind === "ready") return true;
  return (
    answer?.kind === "drawn" &&
    typeof answer.id === "number" &&
    (answer.svg === null || typeof answer.svg === "string")
  );
}
