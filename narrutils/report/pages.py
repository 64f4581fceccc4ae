"""One executed notebook as a page: prose, folded code, and what the cells showed.

nbconvert's filters make HTML of Markdown, code and terminal colours, and its sanitiser has the last
word on what a cell displayed: no script, frame, form, handler, style or link to elsewhere is left. It
is a second wall behind the escaping of `show`.
"""

import re
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from bs4 import BeautifulSoup
from markupsafe import Markup

from narrutils.data.files import intact
from narrutils.report.render import embedded

#: What a cell may display, the best form first.
FORMS = ("text/html", "image/svg+xml", "image/png", "image/jpeg", "text/markdown", "text/latex", "text/plain")

#: A cell that reads as a figure: a number, an interval, a share, a dash, nothing.
NUMBER = re.compile(r"NaN|None|<NA>|[-+−–\d.,:%eE\[\]() /]*")

HEADINGS = ["h1", "h2", "h3", "h4"]
TAGS = [
    *HEADINGS, "a", "abbr", "b", "blockquote", "br", "caption", "code", "dd", "del", "details", "div", "dl",
    "dt", "em", "figcaption", "figure", "h5", "h6", "hr", "i", "ins", "kbd", "li", "mark", "ol", "p", "pre",
    "s", "small", "span", "strong", "sub", "summary", "sup", "table", "tbody", "td", "tfoot", "th", "thead",
    "tr", "u", "ul",
]  # fmt: skip
#: Elements whose content is no text for people.
UNREAD = "style, script, noscript, template, iframe, object, svg, math, .anchor-link"


@dataclass
class Page:
    """What the template needs of a notebook; `cost` is set by the report."""

    stage: str
    title: str
    purpose: str
    cells: list[dict]
    sections: list[tuple[str, str]]
    cost: str = ""

    @property
    def file(self) -> str:
        return f"{self.stage}.html"

    @property
    def number(self) -> str:
        return self.stage.partition("_")[0]

    @property
    def heading(self) -> str:
        """The title without the number that it begins with."""
        return re.sub(r"^\d+\s*·\s*", "", self.title)

    @property
    def short(self) -> str:
        return self.stage.partition("_")[2].replace("_", " ")


def read_page(path: Path) -> Page:
    """Read an executed notebook into a page."""
    import nbformat
    from nbconvert.preprocessors import CoalesceStreamsPreprocessor  # of a line rewritten, the last stays

    with intact(path):
        read = nbformat.reader.reads(path.read_text(encoding="utf-8"))
        nbformat.validate(read)
    notebook, _ = CoalesceStreamsPreprocessor().preprocess(read, {})
    shown, prose = [], _parsed("")
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and cell.source.strip():
            shown.append({"kind": "markdown", "html": markdown(cell.source)})
            prose.extend(_parsed(shown[-1]["html"]))
        elif cell.cell_type == "code" and cell.source.strip():
            shown.append(_code_cell(cell, [path.stem, *(h.get_text() for h in prose(HEADINGS))][-1]))
    sections = [(h2["id"], h2.get_text()) for h2 in prose.select("h2[id]")]
    return Page(path.stem, *_opening(prose, path.stem), shown, sections)


def _opening(prose: BeautifulSoup, name: str) -> tuple[str, str]:
    """The first heading, and what is asked, or else the first sentence of prose after it."""
    asked, first = prose.find("strong", string="Asked:"), prose.find("p", recursive=False)
    if asked:
        purpose = asked.parent.get_text().removeprefix("Asked:").strip()
    else:
        purpose = re.match(r".*?[.!?](?=\s|$)|", " ".join(first.get_text().split()) if first else "")[0]
    return prose.h1.get_text() if prose.h1 else name, purpose[:1].upper() + purpose[1:]


def _code_cell(cell, heading: str) -> dict:
    from nbconvert.filters import Highlight2HTML

    tags = cell.metadata.get("tags", [])
    labels = {"injected-parameters": "parameters of this run", "parameters": "parameters and defaults"}
    return {
        "kind": "code",
        "label": next((label for tag, label in labels.items() if tag in tags), "code"),
        "open": "injected-parameters" in tags,
        "code": Markup(Highlight2HTML()(cell.source, language="python")),
        "outputs": [shown for output in cell.outputs if (shown := _output(output, heading))],
    }


def _output(output, heading: str) -> dict | None:
    if output.output_type == "stream":
        kind = "text" if output.name == "stdout" else "messages"
        return {"kind": kind, "html": _ansi(output.text)} if output.text.strip() else None
    if output.output_type == "error":
        return {"kind": "error", "html": _ansi("\n".join(output.traceback))}
    form = next((f for f in FORMS if f in output.data), None)
    if form is None or not output.data[form]:  # a sentence that has nothing to say here
        return None
    width = output.get("metadata", {}).get(form, {}).get("width", "")
    return _display(form, output.data[form], heading) | {"width": width}


def _display(form: str, value: str, heading: str) -> dict:
    if form == "text/html":
        return {"kind": "html", "html": clean(tidy_tables(value))}
    if form == "text/markdown":
        return {"kind": "markdown", "html": markdown(value)}
    if form.startswith("image/"):
        return {"kind": "image", "source": embedded(form, value), "alt": f"Figure: {heading}"}
    return {"kind": "text", "html": _ansi(value)}


def markdown(source: str) -> Markup:
    """Markdown as clean HTML."""
    from nbconvert.filters import markdown2html

    return clean(markdown2html(source))


def _ansi(text: str) -> Markup:
    """Escaped, with the terminal's colours as spans."""
    from nbconvert.filters import ansi2html

    return clean(ansi2html(text))


def clean(html: str) -> Markup:
    """The same HTML without anything that acts, styles or fetches; unknown tags leave their text."""
    from nbconvert.preprocessors.sanitize import SanitizeHTML

    soup = _parsed(html)
    for element in soup.select(UNREAD):
        element.decompose()
    sanitiser = SanitizeHTML(tags=TAGS, attributes={"*": _is_kept}, strip=True)
    return Markup(sanitiser.sanitize_html_tags(str(soup)))


def _is_kept(tag: str, name: str, value: str) -> bool:
    """Whether an attribute stays; links lead to places of the same page."""
    if name == "href":
        return tag == "a" and value.startswith("#")
    if name == "id":
        return tag in HEADINGS  # what a table of contents leads to
    if name in ("colspan", "rowspan"):
        return tag in ("td", "th") and value.isdigit()
    return name in ("class", "title", "lang", "dir", "open")


def tidy_tables(html: str) -> str:
    """Tables of pandas and of its Styler alike: class `dataframe`, column and index names in one row.

    Columns of words carry the class `text`, so that they can stand left, unless some cell is over
    several columns or rows.
    """
    soup = _parsed(html)
    for table in soup("table"):
        for element in (table, *table(["tr", "th", "td"])):
            del element["class"]
        if table.thead:
            table["class"] = "dataframe"
            _merge_names(table.thead("tr"))
        rows = [] if table.select("[colspan], [rowspan]") else [row(["th", "td"]) for row in table("tr")]
        for heading, *cells in zip(*rows):
            if not all(NUMBER.fullmatch(cell.get_text().strip()) for cell in cells):
                for cell in (heading, *cells):
                    cell["class"] = "text"
    return str(soup)


def _merge_names(rows: list) -> None:
    """Put the index's name, which pandas gives a row of its own, into the empty corner above it."""
    cells = [row("th") for row in rows]
    said = [[cell.get_text().strip() for cell in row] for row in cells]
    if len(rows) == 2 and all(said) and not said[0][0] and said[1][0] and not any(said[1][1:]):
        cells[0][0].replace_with(cells[1][0])
        rows[1].decompose()


def _parsed(html: str) -> BeautifulSoup:
    return BeautifulSoup(StringIO(html), "html.parser")  # a plain string might be taken for a file's name
