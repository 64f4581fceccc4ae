"""Narratives on a page: shown only where `show_text` allows it, and always as data."""

from collections.abc import Mapping, Sequence
from html import escape

import pandas as pd
from IPython.display import HTML

from narrutils.data.schema import Schema

HIDDEN = "Narratives are hidden. Set show_text: true in the profile to see them."

#: Sentences below this share of the strongest effect carry no mark; nor does any where
#: even the strongest is far below this probability.
LEAST_SHARE, LEAST_EFFECT = 0.2, 0.01


def show_cases(
    rows: pd.DataFrame,
    schema: Schema,
    show_text: bool,
    columns: Sequence[str] = (),
    evidence: pd.DataFrame | None = None,
) -> HTML:
    """A few cases, their narratives side by side, with other `columns` above them.

    Args:
        rows: indexed by uid, with the text columns.
        show_text: when false, uids and `columns` are shown and the narratives are not.
        columns: names of further columns of `rows` to show.
        evidence: where there is one case, its `evidence.leave_one_out` for one column. Blue and
            underlined raises the probability, orange and dotted lowers it, the stronger the darker.
    """
    told = "" if show_text else f"<p><em>{HIDDEN}</em></p>"
    cases = (_case(uid, row, schema, show_text, columns, evidence) for uid, row in rows.iterrows())
    return HTML(told + "\n".join(cases))


def show_note(schema: Schema) -> HTML:
    """The task's title, and what its readers should know before they read on."""
    return HTML(f"<p><strong>{_inert(schema.title)}</strong></p><p><em>{_inert(schema.note)}</em></p>")


def _case(uid, row: pd.Series, schema: Schema, show_text: bool, columns, evidence) -> str:
    facts = " · ".join([str(uid), *(f"{name}: {row[name]}" for name in columns)])
    if not show_text:
        return f"<h4>{_inert(facts)}</h4>"
    parts = [_narrative(t.title, row[t.name], _marks(evidence, t.name)) for t in schema.text]
    both = f'<div class="narratives" style="display:flex;flex-wrap:wrap;gap:2em">{"".join(parts)}</div>'
    return f"<h4>{_inert(facts)}</h4>{both}"


def _marks(evidence: pd.DataFrame | None, column: str) -> list[tuple[int, int, float]]:
    """Start, end and effect as a share of the strongest, in order, of what is worth a mark."""
    if evidence is None or evidence.empty:
        return []
    share = evidence["effect"] / max(evidence["effect"].abs().max(), LEAST_EFFECT)
    chosen = evidence[(evidence["text"] == column) & (share.abs() >= LEAST_SHARE)]
    return sorted(zip(chosen["start"], chosen["end"], share[chosen.index]))


def _narrative(title: str, text: str, marks: list[tuple[int, int, float]] = ()) -> str:
    parts, at = [], 0
    for start, end, share in marks:
        kind = "raises" if share > 0 else "lowers"  # what the report, which takes no styles, goes by
        colour, line = ("0, 114, 178", "solid") if share > 0 else ("213, 94, 0", "dotted")
        style = f"background:rgba({colour}, {0.35 * abs(share):.2f});text-decoration:underline {line}"
        marked = f'<span class="{kind}" style="{style}">{_inert(text[start:end])}</span>'
        parts += [_inert(text[at:start]), marked]
        at = end
    told = "".join([*parts, _inert(text[at:])]) or "<em>empty</em>"
    return (
        f'<div style="flex:1 1 20em;max-width:40em"><strong>{_inert(title)}</strong>'
        f'<p style="white-space:pre-wrap">{told}</p></div>'
    )


def _inert(text: str) -> str:
    """Text that no browser or notebook viewer takes for markup; two $ would be read as LaTeX."""
    return escape(text).replace("$", "&#36;")


def shows_text(parameters: Mapping[str, Mapping]) -> bool:
    """Whether the parameters of any stage, by its name, let it show narratives."""
    return any(of_stage.get("show_text") for of_stage in parameters.values())
