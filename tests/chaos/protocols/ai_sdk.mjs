// Chats of the AI SDK, unchanged, as `useChat` has them. Each line of the input lets one read until its end or until it
// is cut off, or cuts it off; each line of the output is what a chat shows then.
import { createInterface } from "node:readline";
import { Chat } from "@ai-sdk/react";
import { DefaultChatTransport } from "ai";

const [base, key] = process.argv.slice(2);
const headers = { authorization: `Bearer ${key}` };
const readers = new Map();

class Reader {
  #text;
  #end = "";
  #isResumed = false;
  #isStopped = false;

  constructor({ chat: id, model, text }) {
    this.#text = text;
    const transport = new DefaultChatTransport({ api: `${base}/ai-sdk/chat`, headers, body: { model } });
    this.chat = new Chat({ id, transport, onFinish: (event) => this.#finish(event), onError() {} });
  }

  #finish({ isAbort, isError, finishReason }) {
    this.#isResumed = true;
    if (!isAbort && !isError && finishReason !== undefined) this.#end = "complete";
  }

  /** Asks for the answer; later goes on with it, as a page does when it is loaded again. */
  async read() {
    const { chat } = this;
    this.#isStopped = false;
    if (chat.messages.length === 0) {
      await chat.sendMessage({ text: this.#text });
    } else {
      this.#isResumed = false;
      await chat.resumeStream();
      // Nothing runs, or nothing was stored: the same message again brings its answer.
      if (!this.#isResumed && !this.#isStopped && chat.status === "ready") {
        await chat.sendMessage({ messageId: chat.messages[0].id, text: this.#text });
      }
    }
    if (chat.status === "error") await this.#judge(chat.error);
  }

  stop() {
    this.#isStopped = true;
    return this.chat.stop();
  }

  /** Finds out whether the error that the page shows is the end of the answer. */
  async #judge(error) {
    const { statusCode } = error;
    if (statusCode >= 400 && statusCode < 500 && statusCode !== 429) {
      this.#end = "refused";
      return;
    }
    const response = await fetch(`${base}/v1/chats/${this.chat.id}/messages`, { headers }).catch(() => null);
    const messages = response?.ok ? (await response.json()).items : [];
    const answer = messages.find(({ role }) => role === "assistant");
    if (answer?.status === "failed" && answer.error.message === error.message) this.#end = "failed";
  }

  shown() {
    const { chat } = this;
    const parts = chat.messages.at(-1)?.role === "assistant" ? chat.messages.at(-1).parts : [];
    const textOf = (kind) => parts.map(({ type, text }) => (type === kind ? text : "")).join("");
    let problem = this.#end === "refused" ? chat.error.message : "";
    if (chat.messages.length > 2) problem = `there are ${chat.messages.length} messages`;
    return { end: this.#end, problem, text: textOf("text"), reasoning: textOf("reasoning") };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  const { number } = command;
  if (!readers.has(number)) readers.set(number, new Reader(command));
  const reader = readers.get(number);
  if (command.do === "stop") reader.stop();
  else reader.read().then(() => console.log(JSON.stringify({ number, ...reader.shown() })));
}
process.exit();
