"""Errors without values: places stay, messages of every exception of a chain go."""

import nbformat

from narrutils.pipeline.redaction import NOT_SHOWN, redact, redact_notebook

SECRET = "V told a neighbour about the blue kite"
FRAME = "\x1b[32mFile ~/narrutils/data/cases.py:12\x1b[39m, in read(path)"
TRACEBACK = [
    "Traceback (most recent call last)",
    "Cell In[3], line 2",
    FRAME,
    f"     11 # {SECRET}",
    f"KeyError: '{SECRET}'",
]


def test_places_stay_and_values_go():
    said, traceback = redact("KeyError", SECRET, TRACEBACK)
    assert said == NOT_SHOWN
    assert traceback[:2] == ["Cell In[3], line 2", "File ~/narrutils/data/cases.py:12, in read(path)"]
    assert SECRET not in "\n".join(traceback)


def test_our_own_errors_stay_unless_another_one_led_to_them():
    assert redact("InputError", "cases.csv: line 3", TRACEBACK[:2]) == ("cases.csv: line 3", TRACEBACK[:2])
    said, traceback = redact("InputError", "cases.csv: line 3", TRACEBACK * 2)
    assert said == NOT_SHOWN and SECRET not in "\n".join(traceback)


def test_a_notebook_holds_no_message_afterwards(tmp_path):
    path = tmp_path / "failed.ipynb"
    error = nbformat.v4.new_output("error", ename="KeyError", evalue=SECRET, traceback=TRACEBACK)
    book = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell("# One"),
            nbformat.v4.new_code_cell("read()", outputs=[error]),
        ]
    )
    nbformat.write(book, path)
    redact_notebook(path)
    assert SECRET not in path.read_text() and NOT_SHOWN in path.read_text()
