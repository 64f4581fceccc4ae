"""Which model names mean a model on a hub: the only names for which the network may be used.

Apart from `backbones`, so that the runner can tell without importing torch.
"""

import re

from narrutils.paths import locate


def is_hub_id(name: str) -> bool:
    """Whether `name` reads `owner/model`, optionally `@revision`, and is no folder here."""
    return bool(re.fullmatch(r"[\w-][\w.-]*/[\w.-]+(@[\w./-]+)?", name)) and not locate(name).is_dir()


def hub_ids(parameters: object) -> list[str]:
    """The hub ids that stand under a key that ends in `backbone`, at any depth, each once."""
    found = []
    if isinstance(parameters, dict):
        for key, value in parameters.items():
            if str(key).endswith("backbone") and isinstance(value, str) and is_hub_id(value):
                found.append(value)
            else:
                found += hub_ids(value)
    elif isinstance(parameters, list):
        for value in parameters:
            found += hub_ids(value)
    return list(dict.fromkeys(found))
