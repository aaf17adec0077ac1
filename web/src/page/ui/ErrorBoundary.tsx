import { Component, type ErrorInfo, type ReactNode } from "react";

interface ErrorBoundaryProps {
  readonly children: ReactNode;
  /** What is shown in place of what failed. */
  readonly fallback: ReactNode;
  /** With another value what failed is tried again. */
  readonly retryOn?: unknown;
}

interface ErrorBoundaryState {
  readonly failed: boolean;
  readonly retryOn: unknown;
}

/** Keeps a failure of one part from taking the rest of the page with it. */
export class ErrorBoundary extends Component<ErrorBoundaryProps, ErrorBoundaryState> {
  override state: ErrorBoundaryState = { failed: false, retryOn: this.props.retryOn };

  static getDerivedStateFromError(): Partial<ErrorBoundaryState> {
    return { failed: true };
  }

  static getDerivedStateFromProps(
    { retryOn }: ErrorBoundaryProps,
    state: ErrorBoundaryState,
  ): Partial<ErrorBoundaryState> | null {
    return retryOn === state.retryOn ? null : { failed: false, retryOn };
  }

  override componentDidCatch(error: unknown, info: ErrorInfo): void {
    // The page goes on; whoever looks into the console learns what happened.
    reportError(
      error instanceof Error
        ? new Error(`${error.message}${info.componentStack ?? ""}`, { cause: error })
        : error,
    );
  }

  override render(): ReactNode {
    return this.state.failed ? this.props.fallback : this.props.children;
  }
}
