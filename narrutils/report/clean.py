"""HTML that notebooks showed, reduced to what a report needs: prose and tables.

A second wall behind the escaping of `show`: whatever a cell displayed, no script, frame,
form, handler, style or link to elsewhere is left of it. The work is done by the
sanitiser that nbconvert ships.
"""

import re

TAGS = [
    "a", "abbr", "b", "blockquote", "br", "caption", "code", "dd", "del", "details", "div", "dl", "dt",
    "em", "figcaption", "figure", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "ins", "kbd", "li",
    "mark", "ol", "p", "pre", "s", "small", "span", "strong", "sub", "summary", "sup", "table", "tbody",
    "td", "tfoot", "th", "thead", "tr", "u", "ul",
]  # fmt: skip

#: Elements whose content is no text for people.
UNREAD = re.compile(
    r"<(style|script|noscript|template|iframe|object|svg|math)\b.*?(</\1\s*>|\Z)", re.I | re.S
)


def clean(html: str) -> str:
    """The same HTML without anything that acts, styles or fetches; unknown tags leave their text."""
    from nbconvert.preprocessors.sanitize import SanitizeHTML  # slow to import

    sanitiser = SanitizeHTML(tags=TAGS, attributes={"*": _is_kept}, strip=True)
    return sanitiser.sanitize_html_tags(UNREAD.sub("", html))


def _is_kept(tag: str, name: str, value: str) -> bool:
    """Whether an attribute stays; links lead to places of the same page."""
    if name == "href":
        return tag == "a" and value.startswith("#")
    if name == "id":
        return tag in ("h1", "h2", "h3", "h4")  # what a table of contents leads to
    if name in ("colspan", "rowspan"):
        return tag in ("td", "th") and value.isdigit()
    if name == "class":
        return tag not in ("table", "tr", "th", "td")
    return name in ("title", "lang", "dir", "open")
