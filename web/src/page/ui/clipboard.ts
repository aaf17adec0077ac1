/**
 * Copies a text to the clipboard.
 *
 * `navigator.clipboard` exists on secure origins only; on others, `execCommand` copies a selection.
 *
 * @throws When the browser allows neither.
 */
export async function copyText(text: string): Promise<void> {
  if (navigator.clipboard !== undefined) {
    await navigator.clipboard.writeText(text);
    return;
  }
  const area = document.createElement("textarea");
  area.value = text;
  area.setAttribute("readonly", "");
  area.style.position = "fixed";
  area.style.opacity = "0";
  const focused = document.activeElement;
  document.body.append(area);
  try {
    area.focus({ preventScroll: true });
    area.select();
    if (!document.execCommand("copy")) throw new Error("The browser does not allow copying here.");
  } finally {
    area.remove();
    if (focused instanceof HTMLElement) focused.focus();
  }
}
