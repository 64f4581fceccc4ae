"""`python -m narrutils` is the command-line tool."""

import sys

from narrutils.cli import main

sys.exit(main())
