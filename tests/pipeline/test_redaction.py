"""Errors without values: places stay, messages of every exception of a chain go."""

from contextlib import redirect_stdout
from io import StringIO

import nbformat
from IPython.core.interactiveshell import InteractiveShell

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
    assert said == f"in ~/narrutils/data/cases.py, line 12; {NOT_SHOWN}"
    assert traceback[:2] == ["Cell In[3], line 2", "File ~/narrutils/data/cases.py:12, in read(path)"]
    assert SECRET not in "\n".join(traceback)


def test_compiled_code_has_no_lines_and_the_message_after_it_stays_hidden():
    frame = [
        "File pandas/_libs/index.pyx:12, in get_loc()",
        f"ValueError: a value\n----> 3 {SECRET}\n 4 {SECRET}",
    ]
    said, traceback = redact("ValueError", SECRET, [*TRACEBACK[:3], *frame])
    assert said == f"in pandas/_libs/index.pyx, line 12; {NOT_SHOWN}"
    assert SECRET not in "\n".join(traceback)


def test_our_own_errors_stay_unless_another_one_led_to_them():
    assert redact("InputError", "cases.csv: line 3", TRACEBACK[:2]) == ("cases.csv: line 3", TRACEBACK[:2])
    said, traceback = redact("InputError", "cases.csv: line 3", TRACEBACK * 2)
    assert said.endswith(NOT_SHOWN) and SECRET not in "\n".join([said, *traceback])


def raised(code):
    """What IPython prints of code that fails."""
    shell = InteractiveShell.instance()
    try:
        with redirect_stdout(StringIO()):
            shell.run_cell(code).raise_error()
    except Exception as error:
        printed = shell.InteractiveTB.structured_traceback(type(error), error, error.__traceback__)
        return redact(type(error).__name__, str(error), printed)


def test_the_library_the_line_and_its_code_stay():
    said, _ = raised(f"import json\njson.loads('[1, {SECRET}')")
    assert SECRET not in said and "json/decoder.py, line " in said and 'raise JSONDecodeError("' in said
    said, traceback = raised(f"from scipy.linalg import cholesky\ncholesky([['{SECRET}']])")
    assert said.startswith("in scipy/linalg/") or said.startswith("in numpy/")
    assert SECRET not in "\n".join([said, *traceback])


def test_an_error_of_the_cell_itself_names_the_cells_line():
    said, _ = raised(f"a = 1\nint('{SECRET}')")
    assert said.startswith("in Cell In[") and ", line 2; " in said and SECRET not in said


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
