import { Component, type ErrorInfo, type ReactNode } from "react";

interface ErrorBoundaryProps {
  readonly children: ReactNode;
  /** Rendered in place of children that failed. */
  readonly fallback: ReactNode;
  /** When it changes, the children are rendered again. */
  readonly retryOn?: unknown;
}

interface ErrorBoundaryState {
  readonly failed: boolean;
  readonly retryOn: unknown;
}

/** Confines an error of rendering to one part of the page. */
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
    // The page continues; the console shows the error.
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
