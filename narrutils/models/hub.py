"""Models on a hub: which names mean one, the only ones for which the network may be used, and its commit.

Apart from `backbones`, so that the runner can tell without importing torch.
"""

import re
from collections.abc import Callable
from pathlib import Path

from narrutils.data.files import read_json
from narrutils.errors import InputError
from narrutils.models.packaged import PACKAGED, place_of
from narrutils.paths import locate

#: The hub's own account for conversions; pull requests of anybody else are not trusted.
CONVERTER = "SFconvertbot"


def is_hub_id(name: str) -> bool:
    """Whether `name` reads `owner/model`, optionally `@revision`, and is no folder here."""
    return bool(re.fullmatch(r"[\w-][\w.-]*/[\w.-]+(@[\w./-]+)?", name)) and not locate(name).is_dir()


def hub_ids(parameters: object) -> list[str]:
    """The hub ids that stand under a key that ends in `backbone`, at any depth, each once."""
    return [name for name in backbones(parameters) if is_hub_id(name)]


def backbones(parameters: object) -> list[str]:
    """The models that stand under a key that ends in `backbone`, at any depth, each once."""
    found = values_under(parameters, lambda key: key.endswith("backbone"))
    return list(dict.fromkeys(value for value in found if isinstance(value, str)))


def config_at_hand(name: str) -> dict:
    """The `config.json` of a packaged or local model; {} where its files are not here yet."""
    config = (place_of(name) if name in PACKAGED else locate(name)) / "config.json"
    return read_json(config) if config.is_file() else {}


def values_under(parameters: object, wanted: Callable[[str], bool]) -> list:
    """Everything that is not empty and stands under a wanted key, at any depth, in order."""
    if isinstance(parameters, list):
        return [found for value in parameters for found in values_under(value, wanted)]
    if not isinstance(parameters, dict):
        return []
    found = []
    for key, value in parameters.items():
        found += [value] if wanted(str(key)) and value else []
        found += values_under(value, wanted)
    return found


def cached_commit(identity: str, revision: str = "") -> str | None:
    """The commit of a hub model that lies in the local cache with safetensors; None without one.

    A commit that was loaded by its hash, such as a conversion, leaves no name behind in the
    cache, so without a revision any commit will do: `main` before others, then the latest.
    """
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    folder = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=identity, repo_type="model")

    def commit_of(name: str) -> str:
        reference = folder / "refs" / name
        return reference.read_text().strip() if reference.is_file() else name

    found = [
        snapshot
        for snapshot in (folder / "snapshots").glob(f"{commit_of(revision) if revision else ''}*")
        if (snapshot / "config.json").exists() and any(snapshot.glob("*.safetensors"))
    ]
    main = commit_of("main")
    best = max(found, key=lambda snapshot: (snapshot.name == main, snapshot.stat().st_mtime), default=None)
    return best and best.name


def safetensors_commit(api, identity: str, revision: str = "") -> str:
    """The commit of a hub model whose weights are safetensors.

    Some models (DeBERTa-v3) are stored with pickled weights alone. For those the hub's own
    converter keeps a pull request with the same weights as safetensors; its commit is
    taken, unless a revision was named.

    Args:
        api: a `huggingface_hub.HfApi`.

    Raises:
        InputError: no such weights.
    """
    named = api.model_info(identity, revision=revision or None, timeout=10)
    if _has_safetensors(named):
        return named.sha
    if not revision:
        pulls = api.get_repo_discussions(identity, author=CONVERTER, discussion_type="pull_request")
        for pull in pulls:
            converted = api.model_info(identity, revision=f"refs/pr/{pull.num}", timeout=10)
            if _has_safetensors(converted):
                return converted.sha
    raise InputError(
        f"{identity}: its weights are pickled, which are not read; name a revision with safetensors "
        "(owner/model@revision), or a folder with the model converted"
    )


def _has_safetensors(info) -> bool:
    return any(file.rfilename.endswith(".safetensors") for file in info.siblings or ())
