import { connect, type Environment, textOf, visibleBranch } from "parley-client";

/** Sends a question in a new chat and shows its answer as it grows. Returns what ends that. */
export function ask(question: string, show: (answer: string) => void, environment?: Environment) {
  const parley = connect(environment);
  const chat = parley.newChat({ title: question });
  const unsubscribe = chat.subscribe(() => {
    const answer = visibleBranch(chat.getSnapshot().state).at(-1);
    if (answer?.message.role === "assistant") show(textOf(answer));
  });
  chat.send(question);
  return () => {
    unsubscribe();
    parley.close();
  };
}
