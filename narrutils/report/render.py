"""Templates to pages: each stands alone, and its content policy admits only what it brings.

Style and script are inlined and named by their hashes, so that nothing else on the
page, whatever a narrative may hold, can style it or run. There is no network: the
policy has no source that leaves the page.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from narrutils.report.tables import figure, percent

TEMPLATES = Path(__file__).with_name("templates")


def render(
    template: str,
    values: Mapping[str, object],
    styles: Sequence[str] = ("report.css",),
    scripts: Sequence[str] = ("report.js",),
) -> str:
    """One page as HTML; values are escaped unless they are Markup.

    Args:
        template: a file of `templates/` that extends `base.html.j2`.
        styles, scripts: files of `templates/`, inlined in this order.
    """
    css, js = [_asset(name) for name in styles], [_asset(name) for name in scripts]
    page = {"policy": policy(css, js), "styles": css, "scripts": js}
    return _environment().get_template(template).render(**values, **page)


def policy(styles: Sequence[str], scripts: Sequence[str]) -> str:
    """The Content-Security-Policy of a page with these inlined styles and scripts."""
    allowed = {"style-src": styles, "script-src": scripts}
    rules = [" ".join([name, *map(_hash, texts)]) for name, texts in allowed.items()]
    return "; ".join(["default-src 'none'; img-src data:", *rules, "base-uri 'none'; form-action 'none'"])


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _asset(name: str) -> Markup:
    """A style sheet or script, exactly as the browser will hash it."""
    return Markup(TEMPLATES.joinpath(name).read_text(encoding="utf-8"))


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}  # of `tojson`
    environment.filters["shown"] = lambda v: v if isinstance(v, str) else json.dumps(v, ensure_ascii=False)
    environment.filters["breaks"] = may_break
    environment.filters["percent"] = percent
    environment.filters["three"] = figure
    return environment


def embedded(form: str, image: str) -> str:
    """An image as the source of an `img`: SVG as it is written, others in base64 as notebooks hold them."""
    coded = base64.b64encode(image.encode()).decode() if form == "image/svg+xml" else image
    return f"data:{form};base64,{''.join(coded.split())}"


def may_break(name: str) -> Markup:
    """A name such as SuicideAttemptHistory, which a narrow column may break between its words."""
    return Markup("<wbr>").join(re.split(r"(?<=[a-z])(?=[A-Z])", name))
