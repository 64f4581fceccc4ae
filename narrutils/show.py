"""Narratives on a page: shown only where `show_text` allows it, and always as data."""

from html import escape

import pandas as pd
from IPython.display import HTML

from narrutils.schema import Schema

HIDDEN = "Narratives are hidden. Set show_text: true in the profile to see them."


def show_cases(rows: pd.DataFrame, schema: Schema, show_text: bool, columns=()) -> HTML:
    """A few cases, their narratives side by side, with other `columns` above them.

    Args:
        rows: indexed by uid, with the text columns.
        show_text: when false, uids and `columns` are shown and the narratives are not.
        columns: names of further columns of `rows` to show.
    """
    parts = [] if show_text else [f"<p><em>{HIDDEN}</em></p>"]
    for uid, row in rows.iterrows():
        facts = " · ".join([str(uid), *(f"{name}: {row[name]}" for name in columns)])
        parts.append(f"<h4>{_inert(facts)}</h4>")
        if show_text:
            parts.append('<div style="display:flex;flex-wrap:wrap;gap:2em">')
            parts += [_narrative(t.title, row[t.name]) for t in schema.text]
            parts.append("</div>")
    return HTML("\n".join(parts))


def show_note(schema: Schema) -> HTML:
    """The task's title, and what its readers should know before they read on."""
    return HTML(f"<p><strong>{_inert(schema.title)}</strong></p><p><em>{_inert(schema.note)}</em></p>")


def _narrative(title: str, text: str) -> str:
    return (
        f'<div style="flex:1 1 20em;max-width:40em"><strong>{_inert(title)}</strong>'
        f'<p style="white-space:pre-wrap">{_inert(text) or "<em>empty</em>"}</p></div>'
    )


def _inert(text: str) -> str:
    """Text that no browser or notebook viewer takes for markup; two $ would be read as LaTeX."""
    return escape(text).replace("$", "&#36;")
