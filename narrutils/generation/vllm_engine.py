"""Generation with vLLM: batched, with a prefix cache, in a process of its own.

The engine binds threads, holds most of a GPU's memory and does not give it back, so it
lives in a child process that ends with the pool. It runs without background processes
of its own and `generate` empties its prefix cache first: then the same call gives the
same texts on the same machine.
"""

import gc
import logging
import multiprocessing
import os
import threading
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version

import torch

from narrutils.errors import InputError
from narrutils.generation.engines import Answer, Backend
from narrutils.generation.nucleus import processor
from narrutils.models.backbones import config_of, uncopied
from narrutils.models.precision import suited
from narrutils.paths import environment
from narrutils.workers import end, interruptible

#: No telemetry, no log of its own, and no process beside the engine's: its scheduling then repeats.
ENVIRONMENT = {
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "TOKENIZERS_PARALLELISM": "false",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
}
#: How often an OpenMP thread looks whether the others are at a barrier too before it sleeps (0.5
#: to 2.5 ms). Left alone libgomp looks 300,000 times: where a process takes a core, threads that wait keep
#: those that they wait for from running.
SPINS = "50000"
#: A core of its own for each thread. Beside a process that takes a core, threads that run where the
#: system puts them lose more: two may share a core, where one waits awake for the other.
BOUND = {"OMP_PROC_BIND": "true", "OMP_PLACES": "cores"}
#: Bytes of keys and values that a CPU engine holds, all of them taken when it starts; on a GPU it
#: takes what is free. vLLM's own VLLM_CPU_KVCACHE_SPACE, in gigabytes, stands over it.
CPU_CACHE = 2**30
#: Settles a question that vLLM would read the whole tokenizer again for; it is given tokens alone.
NO_TEMPLATE = "{{ messages[0]['content'] }}"


class VllmBackend(Backend):
    """vLLM's own engine; `sampling.engine` is handed on to its `LLM`."""

    name = "vllm"
    _counts = (0, 0)  # rows and tokens of what is sampled just now, once the child process is there

    @property
    def version(self) -> str:
        for package in ("vllm", "vllm-cpu"):
            try:
                return version(package)
            except PackageNotFoundError:
                continue
        raise InputError("vLLM is not installed")

    def begin(self) -> None:
        self._started  # noqa: B018 (which starts it)

    @cached_property
    def _started(self) -> tuple[ProcessPoolExecutor, Future]:
        """The engine's process, and what tells that the model is loaded."""
        context = multiprocessing.get_context("spawn")  # a fork would inherit torch's threads and CUDA
        self._counts = context.Array("q", 2)
        process = ProcessPoolExecutor(1, mp_context=context, initializer=_prepare, initargs=(self._counts,))
        with environment(ENVIRONMENT | openmp()):  # torch reads its part while it loads
            return process, process.submit(_start, self._options())

    @cached_property
    def _process(self) -> ProcessPoolExecutor:
        process, started = self._started
        try:
            with interruptible(process):
                started.result()
        except BrokenProcessPool:
            raise self._died() from None
        except Exception as error:
            self.close()
            line = " ".join(str(error).split())
            raise InputError(f"{self.backbone.name}: vLLM did not start ({line})") from None
        return process

    def _options(self) -> dict:
        """Arguments of vLLM's `LLM`; a pool's `engine` settings stand over ours."""
        rank = self.sampling.lora_rank
        gpu = torch.cuda.is_available()
        lora = {"enable_lora": True, "max_lora_rank": _allowed_rank(rank), "max_loras": 8} if rank else {}
        return {
            "model": self.backbone.path_or_id,
            "revision": self.backbone.revision,
            "dtype": suited(self.sampling.precision, config_of(self.backbone)),
            "max_model_len": -1,  # as long as the model reads and the memory holds
            "enable_prefix_caching": True,
            "enforce_eager": not gpu,  # compiling pays on a GPU only
            "kv_cache_memory_bytes": None if gpu else CPU_CACHE,
            "chat_template": NO_TEMPLATE,
            "seed": 0,
            "use_tqdm_on_load": False,
            **lora,
            **(self.sampling.engine or {}),
        }

    @cached_property
    def window(self) -> int:
        return self._ask(_window)  # what the engine found that the memory holds

    def sample(
        self, asked: list[list[int]], seeds: list[int], stops: Sequence[str], adapters: list[str]
    ) -> list[Answer]:
        wanted = {
            "max_tokens": self.sampling.max_new_tokens,
            "temperature": self.sampling.temperature,
            "top_p": self.sampling.top_p,
            "stop": list(stops),
        }
        wanted = {name: value for name, value in wanted.items() if value is not None}
        try:
            return self._ask(_sample, asked, seeds, wanted, adapters, watched=len(asked))
        except InputError:  # the engine did not start
            raise
        except ValueError as error:  # such as a prompt that is longer than the model reads
            line = " ".join(str(error).split())
            raise InputError(
                f"{self.backbone.name}: vLLM refused the prompts ({line}); give the pool a smaller "
                "max_words or max_examples"
            ) from None

    def forget(self) -> None:
        if "_process" in vars(self):
            self._ask(_forget)

    def close(self) -> None:
        self.__dict__.pop("_process", None)
        process, started = self.__dict__.pop("_started", (None, None))
        if process is not None:
            if not started.done():  # nobody waits for it any more
                end(process)
            process.shutdown()

    def _ask(self, function: Callable, *arguments: object, watched: int = 0) -> object:
        """What a function of the child process gives; of so many rows it is told how many are written."""
        try:
            with interruptible(self._process) as process:
                asked = process.submit(function, *arguments)
                while watched and not wait([asked], timeout=1).done:
                    rows, tokens = self._counts
                    self._seen(rows / watched, tokens)
                return asked.result()
        except BrokenProcessPool:
            raise self._died() from None

    def _died(self) -> RuntimeError:
        self.close()
        return RuntimeError(
            f"{self.backbone.name}: vLLM's process died; the usual cause is too little memory. Give its "
            "engine a smaller max_model_len, or on a CPU a smaller kv_cache_memory_bytes"
        )


def openmp() -> dict[str, str]:
    """How the threads of an engine's process wait and where they run; what is set already stands over it.

    They are bound to cores only where each core has one: fewer threads of several processes would
    all be bound to the first cores.
    """
    shared = torch.cuda.is_available() or "OMP_NUM_THREADS" in os.environ
    wanted = {"GOMP_SPINCOUNT": SPINS} | ({} if shared else BOUND)
    return {name: os.environ.get(name, value) for name, value in wanted.items()}


def _allowed_rank(rank: int) -> int:
    """The least of the ranks that vLLM makes room for that holds `rank`."""
    allowed = [r for r in (8, 16, 32, 64, 128, 256, 320, 512) if r >= rank]
    if not allowed:
        raise InputError(f"LoRA rank {rank}: vLLM takes at most 512")
    return allowed[0]


# What follows runs in the child process.

_engine = None
_adapters: dict[str, int] = {}
_counts = None  # rows that are written, and tokens, of what is sampled just now; the parent reads them


def _prepare(counts=None) -> None:
    global _counts
    _counts = counts
    warnings.simplefilter("ignore", FutureWarning)  # of vLLM's own imports
    logging.getLogger("vllm").setLevel(logging.ERROR)  # until it has read VLLM_LOGGING_LEVEL
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A killed parent cannot say goodbye: without it the engine would stay and hold its memory."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _start(options: dict) -> None:
    global _engine
    try:
        from transformers import TokenizersBackend
        from vllm import LLM

        # vLLM copies the tokenizer for threads that it has not got here; each of Gemma's takes a second.
        TokenizersBackend.__copy__ = _alike
        TokenizersBackend.__deepcopy__ = lambda tokenizer, memo: _alike(tokenizer)
        gc.freeze()  # it collects garbage at every step of its start, and need not look through all imports
        fast = {} if torch.cuda.is_available() else {"logits_processors": [processor()]}
        with uncopied():
            _engine = LLM(**fast, **options)
        core = _engine.llm_engine.engine_core
        core.get_output = _counted(core.get_output)
    except Exception as error:  # vLLM's and pydantic's own kinds do not travel between processes
        raise RuntimeError(f"{type(error).__name__}: {error}") from None


def _alike(tokenizer):
    """Another object of the same class and parts."""
    made = object.__new__(type(tokenizer))
    vars(made).update(vars(tokenizer))
    return made


def _counted(get_output: Callable) -> Callable:
    """The engine's own step, whose rows and tokens are counted: `LLM` tells of a row when it ends only."""

    def counting():
        outputs = get_output()
        _counts[0] += sum(output.finished for output in outputs.outputs)
        _counts[1] += sum(len(output.new_token_ids) for output in outputs.outputs)
        return outputs

    return counting


def _window() -> int:
    return _engine.model_config.max_model_len


def _forget() -> None:
    _engine.reset_prefix_cache()


def _sample(asked: list[list[int]], seeds: list[int], wanted: dict, adapters: list[str]) -> list[Answer]:
    from vllm.exceptions import VLLMClientError

    sampling = _parameters(wanted, seeds)
    prompts = [{"prompt_token_ids": ids} for ids in asked]
    lora = [_lora(folder) for folder in adapters] if any(adapters) else None
    _counts[:] = 0, 0
    try:
        outputs = _engine.generate(prompts, sampling, lora_request=lora, use_tqdm=False)
    except VLLMClientError as error:
        raise ValueError(str(error)) from None
    made = [output.outputs[0] for output in outputs]
    return [Answer(one.text, len(one.token_ids), one.finish_reason == "stop") for one in made]


def _parameters(wanted: dict, seeds: list[int]) -> list:
    """vLLM's sampling parameters of each row: the model's own defaults, and what is `wanted`."""
    from vllm import SamplingParams

    defaults = _engine.get_default_sampling_params()
    names = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
    values = {name: getattr(defaults, name) for name in names} | wanted
    if torch.cuda.is_available():
        return [SamplingParams(**values, seed=seed) for seed in seeds]
    # vLLM 0.32 fails on a CPU where it reads a prompt of a seeded request in two goes: the
    # process is seeded instead. The nucleus is found by our own logits processor.
    torch.manual_seed(seeds[0])
    nucleus = (max(values.pop("top_k"), 0), values.pop("top_p"))
    return [SamplingParams(**values, extra_args={"nucleus": nucleus})] * len(seeds)


def _lora(folder: str):
    """vLLM's name for an adapter; each has a number of its own for the life of the engine."""
    from vllm.lora.request import LoRARequest

    return LoRARequest(folder, _adapters.setdefault(folder, len(_adapters) + 1), folder) if folder else None
