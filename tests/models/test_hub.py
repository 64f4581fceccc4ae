"""Hub models: which commit is loaded, so that no pickled weights are."""

from types import SimpleNamespace

import pytest

from narrutils.errors import InputError
from narrutils.models.hub import cached_commit, safetensors_commit


class Hub:
    """A hub of one model: revision -> file names, None being the default one."""

    def __init__(self, files: dict, pulls: dict):
        self.files, self.pulls = files, pulls  # pulls: number -> author

    def model_info(self, identity, revision=None, timeout=None):
        siblings = [SimpleNamespace(rfilename=name) for name in self.files[revision]]
        return SimpleNamespace(sha=f"commit of {revision}", siblings=siblings)

    def get_repo_discussions(self, identity, author, discussion_type):
        assert discussion_type == "pull_request"
        return [SimpleNamespace(num=n) for n, by in self.pulls.items() if by == author]


PICKLED, SAFE = ["config.json", "pytorch_model.bin"], ["config.json", "model.safetensors"]


def test_the_commit_with_safetensors_is_taken():
    assert safetensors_commit(Hub({None: SAFE}, {}), "o/m") == "commit of None"
    assert safetensors_commit(Hub({"v2": SAFE}, {}), "o/m", "v2") == "commit of v2"


def test_pickled_weights_give_way_to_the_hubs_own_conversion():
    files = {None: PICKLED, "refs/pr/3": SAFE, "refs/pr/7": PICKLED, "refs/pr/9": SAFE}
    hub = Hub(files, {3: "somebody", 7: "SFconvertbot", 9: "SFconvertbot"})
    assert safetensors_commit(hub, "microsoft/deberta-v3-large") == "commit of refs/pr/9"


@pytest.mark.parametrize("revision", ["", "v1"])
def test_without_one_it_is_one_line_with_the_mend(revision):
    hub = Hub({None: PICKLED, "v1": PICKLED, "refs/pr/3": SAFE}, {3: "somebody"})
    with pytest.raises(InputError, match="o/m: its weights are pickled.*folder"):
        safetensors_commit(hub, "o/m", revision)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A hub cache as the hub's own client lays it out: commit -> files; a ref names one of them."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", tmp_path)

    def add(commit: str, files: list[str], ref: str = "") -> None:
        folder = tmp_path / "models--o--m"
        (folder / "blobs").mkdir(parents=True, exist_ok=True)
        (folder / "refs").mkdir(exist_ok=True)
        (folder / "snapshots" / commit).mkdir(parents=True)
        for name in files:
            (folder / "snapshots" / commit / name).write_bytes(b"{}")
        if ref:
            (folder / "refs" / ref).write_text(commit)

    return add


def test_what_was_loaded_by_its_commit_is_found_again_without_the_network(cache):
    """The hub's conversion of pickled weights stands under no name in the cache."""
    cache("a" * 40, PICKLED, ref="main")
    assert cached_commit("o/m") is None
    cache("b" * 40, SAFE)
    assert cached_commit("o/m") == cached_commit("o/m", "b" * 40) == "b" * 40
    assert cached_commit("o/m", "main") is cached_commit("o/other") is None


def test_main_stands_before_other_cached_commits(cache):
    cache("a" * 40, SAFE, ref="main")
    cache("b" * 40, SAFE, ref="v2")
    assert [cached_commit("o/m", revision) for revision in ("", "v2")] == ["a" * 40, "b" * 40]


def test_without_a_cache_nothing_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", tmp_path / "none")
    assert cached_commit("o/m") is None
