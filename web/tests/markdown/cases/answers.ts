/** An answer as models write them, and what of it a reader must see. */
export interface AnswerCase {
  readonly name: string;
  readonly markdown: string;
  readonly seen: readonly string[];
}

/** An answer that is seen as it is written. */
function plain(name: string, markdown: string): AnswerCase {
  return { name, markdown, seen: [markdown] };
}

export const ANSWERS: readonly AnswerCase[] = [
  plain("generics in a sentence", "Use List<String> or Map<String, List<Integer>> instead of a raw List."),
  plain("comparisons", "It holds if a<b and c>d, and also if x < y or y > z."),
  plain("a generic function", "Call Promise<void> then Array<number>.from<T>(x)."),
  plain("Rust types", "Vec<u8>, Option<&str> and Result<T, Box<dyn Error>> are common."),
  plain("C++ includes", "Start with #include <iostream> and std::vector<int> v;"),
  plain("placeholders", "Run git clone <url> and then cd <directory>."),
  plain("an unfenced script", "<script>\nconst a = 1 < 2;\n</script>"),
  plain("a script in a sentence", "Put <script src=app.js></script> before the end of body."),
  plain("an unfenced drawing", '<svg width="10" height="10">\n  <circle cx="5" cy="5" r="4"/>\n</svg>'),
  plain("an unfenced style", "<style>\nbody { color: red; }\n</style>"),
  plain(
    "an XML document",
    '<?xml version="1.0"?>\n<!-- the port -->\n<config>\n  <port>80</port>\n</config>',
  ),
  plain("XML in a sentence", "Write <dependency><groupId>org.x</groupId></dependency> there."),
  plain("XML whose tags are also of HTML", "<project><b>1</b><title>two</title></project>"),
  plain("a comment in a sentence", "Comments look like <!-- this --> in HTML."),
  plain("a component of JSX", '<Button onClick={() => go(1)} className="big">Go</Button>'),
  plain("an element of JSX", 'Return <div className="card">{title}</div> from it.'),
  plain("a form", '<form action="/x"><input name="q"><button>Find</button></form>'),
  plain("a frame", '<iframe src="https://example.com"></iframe> embeds a page.'),
  plain("shell redirections", "Run sort < in.txt > out.txt 2>&1 and then cat << EOF."),
  plain("shell variables", "Set PATH=$HOME/bin:$PATH and echo $USER, $SHELL."),
  plain("command substitution", "Use $(date) and $(pwd)/$(whoami) in the name."),
  plain("prices", "It costs $5 or $6, US$10 a year, 20$ in all, from $3-$4 to $1,000."),
  plain("variables of PHP", 'Write $a = $b; and $total = "$x and $y";'),
  plain("positional parameters", "Here $1,$2 and $3 are the arguments, $# their number."),
  {
    name: "brackets that are escaped",
    markdown: "Call f\\(\\) and see \\[optional\\].",
    seen: ["f()", "[optional]"],
  },
  {
    name: "a formula in a line",
    markdown: "The area is \\(a^2\\) there.",
    seen: ["The area is", "a^2", "there."],
  },
  {
    name: "a formula with a dollar",
    markdown: "So $e^{i\\pi}=-1$, as said.",
    seen: ["e^{i\\pi}=-1", ", as said."],
  },
  {
    name: "a formula on its own lines",
    markdown: "Then:\n\\[\na\n= b\n- c\n\\]\nfollows.",
    seen: ["Then:", "a\n= b\n- c", "follows."],
  },
  {
    name: "two dollars",
    markdown: "$$\n\\sum_{i=1}^n i < n^2\n$$\n\nDone.",
    seen: ["\\sum_{i=1}^n i < n^2", "Done."],
  },
  {
    name: "markup that is of HTML",
    markdown: "Press <kbd>Ctrl</kbd>, H<sub>2</sub>O, <b>bold</b>, a<br>b",
    seen: ["PressCtrl,H2O,bold,ab"],
  },
  {
    name: "details around Markdown",
    markdown: "<details>\n<summary>More</summary>\n\n**bold** and `code`\n\n</details>\n\nEnd.",
    seen: ["More", "bold and code", "End."],
  },
  {
    name: "code that is fenced",
    markdown: "```xml\n<a>\n  <!-- x -->\n</a>\n```",
    seen: ["<a>\n  <!-- x -->\n</a>"],
  },
  {
    name: "code in a line",
    markdown: "Use `List<String>` and `$HOME` and `\\(x\\)`.",
    seen: ["List<String> and $HOME and \\(x\\)"],
  },
  {
    name: "raw preformatted text",
    markdown: "<pre>\none\n  two\n\nthree\n</pre>",
    seen: ["one\n  two\n\nthree"],
  },
  {
    name: "a table with markup in its cells",
    markdown: "| type | example |\n|---|---|\n| List<T> | a<b |\n| `x \\| y` | $5 |",
    seen: ["List<T>", "a<b", "x | y", "$5"],
  },
  {
    name: "a footnote",
    markdown: "Said[^1] and told[^b].\n\n[^1]: The first.\n[^b]: The second,\n    longer.\n\nEnd.",
    seen: ["Said[1] and told[2].", "The first.", "The second, longer.", "End."],
  },
  {
    name: "links that lead nowhere from here",
    markdown: "[a](./docs/a.md) [b](../b) [c](/c) [d](javascript:alert(1)) [e](HTTPS://EXAMPLE.COM)",
    seen: ["a b c d e"],
  },
  { name: "tasks", markdown: "- [ ] open\n- [x] done", seen: ["open", "done"] },
  { name: "quotes in quotes", markdown: `${"> ".repeat(150)}deep`, seen: ["deep"] },
  { name: "lists in lists", markdown: `${"- ".repeat(150)}deep`, seen: ["deep"] },
  // biome-ignore lint/suspicious/noTemplateCurlyInString: it is what a template says
  plain("a template", "Hello {{ name }}, {% if x %}<% y %>{% endif %} ${z}"),
  plain("e-mail and mentions", "Write to Ann <ann at example.com> or @team, #12."),
  plain("arrows and shifts", "a -> b <- c => d <= e >= f, 1 << 2 >> 3, <> and <=>"),
];
