import type { KeyboardEvent } from "react";

/** Safari's key code for the Enter that accepts an input method's word, sent after the composition has ended. */
const INPUT_METHOD_KEY_CODE = 229;

/** Whether a key belongs to an input method, which is composing or has just accepted a word. */
export function isForInputMethod({ nativeEvent }: KeyboardEvent): boolean {
  return nativeEvent.isComposing || nativeEvent.keyCode === INPUT_METHOD_KEY_CODE;
}
