"""The explorer: a browser of a run's official cases, for a notebook with a live kernel.

Both narratives, the labels beside each model's reading, the sentences that move a
reading, and the cases nearest in words. An executed copy, which has no kernel behind
it, holds a plain table in its place.
"""

import os
from html import escape
from pathlib import Path

import pandas as pd
from IPython.display import HTML

from narrutils.crossfit.teachers import Teachers
from narrutils.data.run import Run
from narrutils.data.study import Study
from narrutils.errors import InputError
from narrutils.evaluation.evidence import leave_one_out
from narrutils.paths import UNATTENDED
from narrutils.report.casebook import ALL, Casebook
from narrutils.report.show import HIDDEN, show_cases, shows_text

ROWS = 10  # of the plain table


def explore(study: Study | str | Path, show_text: bool | None = None):
    """Browse the official cases of a run.

    Args:
        study: of a run, or a run folder.
        show_text: whether narratives may be shown; as in that run unless given.

    Returns:
        What a notebook displays: widgets, or a table where no one could use them.

    Raises:
        InputError: the run has no cases or no predictions yet, or its stages do not belong together.
    """
    study = study if isinstance(study, Study) else Study.open(Run(study))
    if show_text is None:
        show_text = shows_text(study.run.read("run.json")["parameters"])
    book = Casebook(study.scored)
    if not book.models:
        raise InputError(f"{study.run.folder}: no predictions yet; run 01_eda first")
    return static_table(book) if os.environ.get(UNATTENDED) else Explorer(book, show_text).panel


def static_table(book: Casebook) -> HTML:
    """Of each variable, the case that its model finds hardest to believe: no text, no kernel needed."""
    model, worst = book.models[0], []
    for name, labels in book.study.labels.items():
        chosen = book.select(name, model).dropna().head(1)
        worst += [(name, uid, labels[uid], share) for uid, share in chosen.items()]
    table = pd.DataFrame(worst, columns=["variable", "uid", "given", f"{model}: probability of it"])
    table = table.sort_values(table.columns[-1]).head(ROWS)
    said = "In a live notebook a browser of all cases stands here. The labels that are hardest to believe:"
    return HTML(f"<p>{said}</p>{table.to_html(index=False, float_format='{:.3f}'.format, border=0)}")


class Explorer:
    """The widgets: `panel` is what a notebook shows."""

    def __init__(self, book: Casebook, show_text: bool):
        import ipywidgets as widgets

        self.book, self.show_text = book, show_text
        self.variable = widgets.Dropdown(options=book.study.schema.names, description="variable")
        self.model = widgets.Dropdown(options=book.models, description="model")
        self.error = widgets.Dropdown(options=[ALL], description="cases")
        self.case = widgets.Select(options=[], description="uid", rows=12)
        self.button = widgets.Button(description="show evidence", disabled=not show_text)
        self.button.tooltip = "the sentences that move this model's reading" if show_text else HIDDEN
        self.told, self.text, self.table, self.near = (widgets.HTML() for _ in range(4))
        self._watch()
        choices = widgets.VBox([self.variable, self.model, self.error, self.told, self.case, self.button])
        choices.layout.min_width = "330px"  # a widget with its description takes 300
        reading = widgets.VBox(
            [self.text, self.table, self.near], layout={"flex": "1 1 auto", "min_width": "0"}
        )
        self.panel = widgets.HBox([choices, reading])
        self._list_errors()

    def _watch(self) -> None:
        self.variable.observe(lambda change: self._list_errors(), "value")
        self.model.observe(lambda change: self._list_cases(), "value")
        self.error.observe(lambda change: self._list_cases(), "value")
        self.case.observe(lambda change: self._show(), "value")
        self.button.on_click(lambda button: self._show(self._evidence()))

    def _list_errors(self) -> None:
        """A new variable: the kinds of error that it can have, and its cases."""
        self.error.options = self.book.errors(self.variable.value)
        self._list_cases()

    def _list_cases(self) -> None:
        chosen = self.book.select(self.variable.value, self.model.value, self.error.value)
        self.told.value = f"<em>{len(chosen)} cases, the hardest to believe first</em>"
        shares = chosen.map("{:.2f}".format).where(chosen.notna(), "")
        self.case.options = [(f"{uid}  {share}".rstrip(), uid) for uid, share in shares.items()]
        self.case.value = chosen.index[0] if len(chosen) else None
        self._show()

    def _show(self, marks: pd.DataFrame | None = None) -> None:
        uid = self.case.value
        if uid is None:
            self.text.value = self.table.value = self.near.value = ""
            return
        study = self.book.study
        shown = show_cases(study.train.loc[[uid]], study.schema, self.show_text, evidence=marks)
        self.text.value = _set(shown.data)
        self.table.value = self._readings(uid)
        near = " · ".join(f"{escape(str(u))} ({s:.2f})" for u, s in self.book.neighbours(uid).items())
        self.near.value = f"<p><strong>Nearest in words</strong> {near}</p>"

    def _readings(self, uid: str) -> str:
        """The table of one case, the chosen variable first."""
        table = self.book.readings(uid)
        first = self.variable.value
        table = table.loc[[first, *table.index.drop(first)]].reset_index()
        note = "the given code, and each model's probability of it; → what the model would code"
        return _set(f"<p><em>{note}</em></p>{table.to_html(index=False, border=0)}", "white-space:nowrap")

    def _evidence(self) -> pd.DataFrame:
        """What each sentence does to the reading, by the model that never saw this case's fold.

        Of the given code, or where none is given of the model's own.
        """
        uid, name, study = self.case.value, self.variable.value, self.book.study
        teacher = Teachers(study.run, self.model.value, study.schema)
        given = study.labels.loc[uid, name]
        code = self.book.codes(self.model.value).loc[uid, name] if pd.isna(given) else given
        column = study.schema[name].column_of(code)
        return leave_one_out(
            lambda texts: teacher.read(int(teacher.folds[uid]), texts),
            study.train.loc[[uid]],
            pd.DataFrame({"uid": [uid], "column": [column]}),
            study.schema,
        )


def _set(html: str, style: str = "") -> str:
    """Text with the line height of a page instead of a widget's; what is too wide scrolls."""
    return f'<div style="line-height:1.45;overflow-x:auto;{style}">{html}</div>'
