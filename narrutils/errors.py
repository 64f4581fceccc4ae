"""The one exception that the package raises for a mistake that its user can mend."""


class InputError(ValueError):
    """Something that the user gave is wrong: one line says what, where, and the mend.

    The command-line tool prints the line alone, without a traceback, and exits
    with 2. A message may name a file, a row, a column, a uid or a parameter; it
    never holds narrative text.
    """


def one_of(options: dict, name: str, parameter: str):
    """The option of that name.

    Raises:
        InputError: there is none; the line names the parameter and what it takes.
    """
    if name not in options:
        raise InputError(f"{parameter} is {name!r}; it takes {' or '.join(options)}")
    return options[name]
