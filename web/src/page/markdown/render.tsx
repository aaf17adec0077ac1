import { createContext, Fragment, memo, type ReactNode, use } from "react";
import { Code } from "./Code";
import { Diagram } from "./Diagram";
import type { Note } from "./document";
import { linkTarget } from "./links";
import { Maths } from "./Maths";
import type { ElementNode, Node } from "./tree";

/** The footnotes of the rendered text. */
export const NotesContext = createContext<readonly Note[]>([]);

/** A top-level block; rendered again only when it changes. */
export const Block = memo(function Block({ node }: { readonly node: Node }) {
  return draw(node, 0, true);
});

function drawAll(nodes: readonly Node[]): ReactNode[] {
  return nodes.map((node, index) => draw(node, index, false));
}

/** @param top Whether it is a block of the top level: those find their direction by their own text. */
function draw(node: Node, key: number, top: boolean): ReactNode {
  switch (node.kind) {
    case "text":
      return node.text;
    case "code":
      return node.language.toLowerCase() === "mermaid" ? (
        <Diagram key={key} text={node.text} />
      ) : (
        <Code key={key} language={node.language} text={node.text} />
      );
    case "maths":
      return <Maths display={node.display} key={key} source={node.source} text={node.text} />;
    case "literal":
      return (
        <p className="literal" dir="auto" key={key}>
          {node.text}
        </p>
      );
    case "note":
      return <NoteReference key={key} label={node.label} />;
    case "element":
      return <Element key={key} node={node} top={top} />;
  }
}

interface ElementProps {
  readonly node: ElementNode;
  readonly top: boolean;
}

const Element = memo(function Element({ node, top }: ElementProps) {
  const { tag: Tag, attributes, children } = node;
  const { anchor, align, lang, title, dir } = attributes;
  const shared = {
    ...(top ? { dir: "auto" } : dir !== undefined && { dir }),
    ...(lang !== undefined && { lang }),
    ...(anchor !== undefined && { "data-anchor": anchor, tabIndex: -1 }),
    ...(align !== undefined && ALIGNMENTS.has(align) && { "data-align": align }),
  };
  switch (Tag) {
    case "br":
    case "hr":
    case "wbr":
      return <Tag />;
    case "source":
      return null;
    case "col":
      return <col />;
    case "picture":
      return <Fragment>{drawAll(children)}</Fragment>;
    case "input":
      return (
        <input
          aria-label={attributes.label === "" ? "Task" : attributes.label}
          checked={attributes.checked !== undefined}
          disabled
          readOnly
          type="checkbox"
        />
      );
    case "img":
      return <Picture alt={attributes.alt ?? ""} src={attributes.src ?? ""} />;
    case "a":
      return (
        <Link href={attributes.href} title={title}>
          {anchor === undefined ? drawAll(children) : <span {...shared}>{drawAll(children)}</span>}
        </Link>
      );
    case "table":
      return (
        <div aria-label="Table" className="table-block" dir="auto" role="group" tabIndex={0}>
          <table>{drawAll(withoutSpace(children))}</table>
        </div>
      );
    case "thead":
    case "tbody":
    case "tfoot":
    case "tr":
    case "colgroup":
      return <Tag>{drawAll(withoutSpace(children))}</Tag>;
    case "th":
    case "td":
      return (
        <Tag {...shared} colSpan={span(attributes.colspan)} rowSpan={span(attributes.rowspan)}>
          {drawAll(children)}
        </Tag>
      );
    case "ol":
      return (
        <ol
          {...shared}
          start={Number.parseInt(attributes.start ?? "1", 10) || (attributes.start === "0" ? 0 : 1)}
        >
          {drawAll(children)}
        </ol>
      );
    case "li":
      return (
        <li {...shared} className={isTask(node) ? "task" : undefined}>
          {drawAll(children)}
        </li>
      );
    case "details":
      return (
        <details {...shared} open={attributes.open !== undefined}>
          {drawAll(children)}
        </details>
      );
    case "pre":
      return (
        <pre {...shared} aria-label="Preformatted text" role="group" tabIndex={0}>
          {drawAll(children)}
        </pre>
      );
    case "div":
      return (
        <div {...shared} className={attributes.role}>
          {drawAll(children)}
        </div>
      );
    default:
      return <Plain node={node} shared={shared} />;
  }
});

/** An element that needs nothing but its content. `tree.ts` makes only elements of text. */
function Plain({ node, shared }: { readonly node: ElementNode; readonly shared: object }) {
  const Tag = node.tag as "p";
  return (
    <Tag {...shared} {...(node.attributes.title !== undefined && { title: node.attributes.title })}>
      {drawAll(node.children)}
    </Tag>
  );
}

const ALIGNMENTS = new Set(["left", "center", "right"]);

function span(value: string | undefined): number | undefined {
  const count = Number.parseInt(value ?? "", 10);
  return count > 1 && count <= 100 ? count : undefined;
}

/** A table may hold no text outside of its cells. */
function withoutSpace(nodes: readonly Node[]): readonly Node[] {
  return nodes.filter((node) => node.kind !== "text" || node.text.trim() !== "");
}

function isTask({ children }: ElementNode): boolean {
  const [first] = children;
  if (first?.kind !== "element") return false;
  return first.tag === "input" || (first.tag === "p" && isTask(first));
}

interface LinkProps {
  readonly href: string | undefined;
  readonly title?: string | undefined;
  readonly children: ReactNode;
}

/** A link; when its address is not allowed, its text, with the address shown on hover and focus. */
function Link({ href, title, children }: LinkProps) {
  if (href === undefined) return children;
  const address = linkTarget(href);
  if (address === null) {
    return (
      <span className="address" data-address={href} tabIndex={0} title={href}>
        {children}
      </span>
    );
  }
  if (address.startsWith("#")) return <a href={address}>{children}</a>;
  return (
    <a href={address} rel="noopener noreferrer nofollow" target="_blank" title={title || address}>
      {children}
    </a>
  );
}

/** A picture is shown as a link: fetching it would disclose data to a third party (prompt injection). */
function Picture({ src, alt }: { readonly src: string; readonly alt: string }) {
  if (alt === "" && src === "") return null;
  return (
    <Link href={src}>
      <span className="picture">{alt || src}</span>
    </Link>
  );
}

function NoteReference({ label }: { readonly label: string }) {
  const notes = use(NotesContext);
  const number = notes.findIndex((note) => note.label === label) + 1;
  return (
    <sup>
      <a
        aria-label={`Footnote ${number}`}
        data-anchor={`fnref-${label}`}
        href={`#fn-${encodeURIComponent(label)}`}
      >
        [{number}]
      </a>
    </sup>
  );
}

/** The footnotes, below the text. */
export const Notes = memo(function Notes({ notes }: { readonly notes: readonly Note[] }) {
  if (notes.length === 0) return null;
  return (
    <ol aria-label="Footnotes" className="footnotes">
      {notes.map(({ label, nodes }) => (
        <li data-anchor={`fn-${label}`} dir="auto" key={label} tabIndex={-1}>
          {drawAll(nodes)}
          {/* biome-ignore lint/a11y/useAnchorContent: its sign is of the style sheet, which is no text of the answer */}
          <a
            aria-label="Back to the text"
            className="footnote-back"
            href={`#fnref-${encodeURIComponent(label)}`}
          />
        </li>
      ))}
    </ol>
  );
});
