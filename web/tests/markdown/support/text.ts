/** What a reader sees of an HTML text, without white space: pictures count by their description. Needs a DOM. */
export function visibleText(html: string): string {
  const box = document.createElement("div");
  box.innerHTML = html;
  for (const element of box.querySelectorAll("script, style, template, title, textarea, iframe, [hidden]")) {
    element.remove();
  }
  for (const picture of box.querySelectorAll("img")) {
    picture.replaceWith(picture.getAttribute("alt") || (picture.getAttribute("src") ?? ""));
  }
  return (box.textContent ?? "").replace(/\s+/g, "");
}
