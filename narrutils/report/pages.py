"""One executed notebook as a page: prose, folded code, and what the cells showed.

Whatever a cell showed as HTML or Markdown goes through `clean`, the rest is escaped.
"""

import base64
import html
import itertools
import re
from dataclasses import dataclass, field
from pathlib import Path

from markupsafe import Markup

from narrutils.report.clean import clean

#: What a cell may display, the best form first.
FORMS = ("text/html", "image/svg+xml", "image/png", "image/jpeg", "text/markdown", "text/latex", "text/plain")

#: A cell that reads as a figure: a number, an interval, a share, a dash, nothing.
NUMBER = re.compile(r"(NaN|None|&lt;NA&gt;|[-+−–\d.,:%eE\[\]() /]*)")


@dataclass
class Page:
    """What the template needs of a notebook; `before`, `after` and `cost` are set by the report."""

    stage: str
    title: str
    purpose: str
    cells: list[dict]
    sections: list[tuple[str, str]] = field(default_factory=list)
    before: "Page | None" = None
    after: "Page | None" = None
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

    cells = [c for c in nbformat.read(path, as_version=4).cells if c.source.strip()]
    shown, heading = [], path.stem
    for cell in cells:
        if cell.cell_type == "markdown":
            heading = _heading(cell.source) or heading
            shown.append({"kind": "markdown", "html": _markdown(cell.source)})
        elif cell.cell_type == "code":
            shown.append(_code_cell(cell, heading))
    title, purpose = _opening([c.source for c in cells if c.cell_type == "markdown"])
    return Page(path.stem, title or path.stem, purpose, shown, _sections(shown))


def _heading(source: str) -> str:
    found = re.findall(r"^#{1,4} +(.+)$", source, flags=re.MULTILINE)
    return _plain(found[-1]) if found else ""


def _opening(sources: list[str]) -> tuple[str, str]:
    """The first heading, and what is asked, or else the first sentence of prose after it."""
    text = "\n".join(sources)
    asked = re.search(r"^[-*] +\*\*Asked:\*\* *(.+)$", text, flags=re.MULTILINE)
    title = re.search(r"^# +(.+)$", text, flags=re.MULTILINE)
    after = text[title.end() :] if title else text
    lines = [block for block in re.split(r"\n\s*\n", after) if re.match(r"\s*[\w*_`\"]", block)]
    sentence = re.match(r".+?[.!?](?=\s|$)", _plain(" ".join(lines[0].split()))) if lines else None
    purpose = _plain(asked[1]) if asked else sentence[0] if sentence else ""
    return (_plain(title[1]) if title else ""), purpose[:1].upper() + purpose[1:]


def _plain(markdown: str) -> str:
    """Markdown emphasis, code marks and links as plain text."""
    return re.sub(r"\[([^\]]*)\]\([^)]*\)|[*`]", lambda m: m[1] or "", markdown).strip()


def _sections(cells: list[dict]) -> list[tuple[str, str]]:
    """Anchors and texts of the second-level headings."""
    found = []
    for cell in cells:
        if cell["kind"] == "markdown":
            for anchor, text in re.findall(
                r'<h2 id="([^"]+)">(.*?)</h2>', str(cell["html"]), flags=re.DOTALL
            ):
                text = re.sub(r"<a class=.anchor-link.*?</a>|<[^>]+>", "", text)
                found.append((html.unescape(anchor), html.unescape(text).strip()))
    return found


def _markdown(source: str) -> Markup:
    from nbconvert.filters import markdown2html

    return Markup(clean(markdown2html(source)))


def _code_cell(cell, heading: str) -> dict:
    from nbconvert.filters import Highlight2HTML

    tags = cell.metadata.get("tags", [])
    injected = "injected-parameters" in tags
    label = (
        "parameters of this run"
        if injected
        else "parameters and defaults"
        if "parameters" in tags
        else "code"
    )
    return {
        "kind": "code",
        "label": label,
        "open": injected,
        "code": Markup(Highlight2HTML()(cell.source, language="python")),
        "outputs": [shown for output in cell.outputs if (shown := _output(output, heading))],
    }


def _output(output, heading: str) -> dict | None:
    if output.output_type == "stream":
        kind = "text" if output.name == "stdout" else "messages"
        text = _settled(output.text)
        return {"kind": kind, "html": _ansi(text)} if text.strip() else None
    if output.output_type == "error":
        return {"kind": "error", "html": _ansi("\n".join(output.traceback))}
    form = next((f for f in FORMS if f in output.data), None)
    if form is None:
        return None
    width = output.get("metadata", {}).get(form, {}).get("width", "")
    return _display(form, output.data[form], heading) | {"width": width}


def _display(form: str, value: str, heading: str) -> dict:
    if form == "text/html":
        return {"kind": "html", "html": Markup(align_text(plain_tables(clean(value))))}
    if form == "text/markdown":
        return {"kind": "markdown", "html": _markdown(value)}
    if form.startswith("image/"):
        coded = (
            base64.b64encode(value.encode()).decode() if form == "image/svg+xml" else "".join(value.split())
        )
        return {"kind": "image", "source": f"data:{form};base64,{coded}", "alt": f"Figure: {heading}"}
    return {"kind": "text", "html": _ansi(value)}


def plain_tables(shown: str) -> str:
    """Tables of pandas and of its Styler alike: class `dataframe`, column and index names in one row."""
    shown = re.sub(r"<table[^>]*>(?=\s*<thead>)", '<table class="dataframe">', shown)
    return re.sub(r"<thead>.*?</thead>", lambda m: _one_row(m[0]), shown, flags=re.DOTALL)


def _one_row(head: str) -> str:
    rows = re.findall(r"<tr>.*?</tr>", head, flags=re.DOTALL)
    cells = [re.findall(r"<th>(.*?)</th>", row, flags=re.DOTALL) for row in rows]
    blank = [[cell.replace("&nbsp;", "").strip(" \n\xa0") == "" for cell in row] for row in cells]
    if (
        len(rows) != 2
        or not all(cells)
        or blank[1] != [False] + [True] * (len(cells[0]) - 1)
        or not blank[0][0]
    ):
        return head
    merged = "".join(f"<th>{cell}</th>" for cell in [cells[1][0], *cells[0][1:]])
    return f"<thead><tr>{merged}</tr></thead>"


def align_text(table: str) -> str:
    """A pandas table whose columns of words carry the class `text`, so that they can stand left.

    A table with cells over several columns or rows is left as it is.
    """
    if 'class="dataframe"' not in table or re.search(r"(col|row)span", table):
        return table
    rows = re.findall(r"<tr.*?</tr>", table, flags=re.DOTALL)
    body = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, flags=re.DOTALL) for row in rows[1:]]
    words = {n for cells in body for n, cell in enumerate(cells) if not NUMBER.fullmatch(cell.strip())}
    for row in rows:
        place = itertools.count()
        marked = re.sub(r"<t[hd](?=>)", lambda m, p=place: m[0] + ' class="text"' * (next(p) in words), row)
        table = table.replace(row, marked, 1)
    return table


def _settled(text: str) -> str:
    """What a terminal would show in the end: of a line rewritten by carriage returns, the last."""
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))


def _ansi(text: str) -> Markup:
    """Escaped, with the terminal's colours as spans."""
    from nbconvert.filters import ansi2html

    return Markup(clean(ansi2html(text)))
