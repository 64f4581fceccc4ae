"""Imported where processes are forked from: digests of the package's modules, which every run asks for."""

import pkgutil

import narrutils
from narrutils.data.sources import source_digests

source_digests(found.name for found in pkgutil.walk_packages(narrutils.__path__, "narrutils."))
