"""A stranger's model folder is opened in a process with limits: whatever is in it, one message, in seconds."""

from __future__ import annotations

import dataclasses
import os
import random
import re
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from broken_folders import ATTACKS, copy_of, mutate, says
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedConfig

from dormouse.errors import DormouseWarning, UserError
from dormouse.lm import limits, opening
from dormouse.lm.configuration import CODE, OURS, refuse_code
from dormouse.lm.limits import Limits, attempt
from dormouse.lm.load import load
from dormouse.lm.zoo import resolve

LONG = bool(os.environ.get("DORMOUSE_STRESS"))
MUTATIONS = 500 if LONG else 12
SECONDS = 20
"""Of processor time."""


@pytest.fixture(autouse=True)
def _limits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(opening, "LIMITS", Limits(seconds=20 if LONG else 2, bytes=1_500_000_000))
    monkeypatch.setenv("DORMOUSE_HOME", str(tmp_path / "home"))


def opened(folder: Path) -> str:
    """What is said of a model when it is loaded; "" where nothing is wrong with it."""
    begun = time.process_time()
    try:
        load(resolve(str(folder)))
    except UserError as error:
        return str(error)
    finally:
        assert time.process_time() - begun < SECONDS, "beside what its own process may take"
    return ""


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_gets_one_message(tiny_model: Path, tmp_path: Path, attack: str) -> None:
    change, message = ATTACKS[attack]
    folder = copy_of(tiny_model, tmp_path / "model")
    change(folder)
    said = opened(folder)
    assert re.search(message, said), said
    assert str(folder) in said
    assert not (tmp_path / "home" / "opened").exists() or "model" in said


@pytest.mark.filterwarnings("ignore")
@pytest.mark.timeout(7200 if LONG else 300)
def test_mutations_get_a_message_or_are_a_model(tiny_model: Path, tmp_path: Path) -> None:
    rng, sound = random.Random(0), 0
    for i in range(MUTATIONS):
        folder = copy_of(tiny_model, tmp_path / f"model{i}")
        what = mutate(folder, rng)
        try:
            sound += not opened(folder)
        except Exception as error:
            raise AssertionError(f"mutation {i}: {what}") from error
    assert sound < MUTATIONS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 4e6, "kB"


def test_a_sound_model_is_opened_once_for_each_content(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copy_of(tiny_model, tmp_path / "model")
    assert opened(folder) == ""
    with monkeypatch.context() as patch:
        patch.setattr(opening, "attempt", lambda *_: pytest.fail("opened again"))
        assert opened(folder) == ""
        assert opened(copy_of(tiny_model, tmp_path / "elsewhere")) == "", "it is the content that counts"
    says("tokenizer_config.json", eos_token=None)(folder)
    assert "no end-of-turn token" in opened(folder)


def test_weights_that_have_no_place_are_said(tiny_model: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    folder = copy_of(tiny_model, tmp_path / "model")
    found = load_file(folder / "model.safetensors") | {"value_head.weight": torch.zeros(1, 32)}
    save_file(found, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.warns(DormouseWarning, match=r"no place in the model and are not used \(value_head.weight"):
        load(resolve(str(folder)))


# --- the child -----------------------------------------------------------------------------------------------------


def grow() -> None:
    held = [bytes(10_000_000) for _ in range(100_000)]
    raise AssertionError(len(held))


def spin() -> None:
    while True:
        pass


def write() -> None:
    Path("written").write_text("x" * 10_000)


def panic() -> None:
    raise BaseException("panicked at src/lib.rs")


DEEDS = {
    "grows": (grow, "too much memory: more than 0.2 GB"),
    "spins": (spin, "no end within 0.2 seconds"),
    "sleeps": (lambda: time.sleep(60), "no end within 2 seconds"),
    "writes": (write, "File too large"),
    "panics": (panic, "panicked at src/lib.rs"),
    "crashes": (lambda: os.kill(os.getpid(), 11), "ends with signal 11"),
    "leaves": (lambda: os._exit(0), "ends with signal 0"),
}


@pytest.mark.parametrize("deed", DEEDS)
def test_what_a_child_may_not_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deed: str) -> None:
    monkeypatch.chdir(tmp_path)
    does, message = DEEDS[deed]

    def work(step: Any) -> None:
        step("first")
        step("second")
        does()

    before = psutil.Process().children()
    seconds, wall = 0.2 if deed == "spins" else 20, 2.0 if deed == "sleeps" else 60.0
    fault = attempt(work, Limits(seconds, wall, bytes=200_000_000))
    assert fault is not None
    assert (fault.step, message in fault.what) == ("second", True), fault
    assert not (tmp_path / "written").exists() or not (tmp_path / "written").read_text()
    assert set(psutil.Process().children()) <= set(before), "nobody is left behind"


def test_what_ends_well_says_nothing() -> None:
    assert attempt(lambda step: step("only"), Limits()) is None


def test_a_child_that_is_given_no_processor_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A good model on a busy machine was said to come to no end: only its 90 seconds had passed, not its 20 of work."""

    def spin_for(seconds: float) -> None:
        while time.process_time() < seconds:
            pass

    short = Limits(wall=0.01)
    monkeypatch.setattr(limits, "PATIENCE", 100_000)
    assert attempt(lambda step: spin_for(time.process_time() + 0.05), short) is None
    monkeypatch.setattr(limits, "PATIENCE", 3)
    with pytest.raises(UserError, match=r"too busy: .* was given .* seconds of processor time in 0\.03"):
        attempt(lambda step: spin(), short)


def test_a_child_is_heard_where_many_files_are_open() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, before[1]))
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        assert attempt(lambda step: step("only"), Limits()) is None
    finally:
        for file in held:
            os.close(file)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


# --- what may come from a configuration ------------------------------------------------------------------------------

CAUSAL: list[type[PreTrainedConfig]] = sorted(set(AutoModelForCausalLM._model_mapping.keys()), key=lambda c: c.__name__)
SUSPICIOUS = re.compile(
    r"kernel|impl|quant|code|module|class|path|file|repo|hub|auto|custom|plan|fusion|compile|backend"
)
REVIEWED = {
    *("conv_kernel", "conv_kernel_size", "linear_conv_kernel_dim", "ple_conv_kernel_size", "short_conv_kernel_size"),
    *("num_codebooks", "use_mem_eff_path", "use_mamba_kernels", "block_auto_adjust_ff_dim"),  # numbers, truth values
    *("chunkwise_kernel", "sequence_kernel", "step_kernel", "autocast_kernel_dtype"),  # words: native ones alone
    *("encoder_hash_byte_group_size", "num_classes", "is_decoder", "use_auxiliary_loss"),
}
"""Keys of the installed transformers that sound as if they chose code, looked at by hand."""


def test_every_key_of_the_installed_transformers_was_looked_at() -> None:
    keys = {f.name for config in CAUSAL for f in dataclasses.fields(config)}
    keys |= {name for config in CAUSAL for name in config.sub_configs}
    odd = {key for key in keys if SUSPICIOUS.search(key) and "encoder" not in key and "decoder" not in key}
    odd -= {key for key in odd if "classifier" in key or CODE.fullmatch(key) or OURS.fullmatch(key)}
    assert odd - REVIEWED == set()
    assert len(keys) > 500


def test_what_transformers_itself_writes_is_let_through() -> None:
    refused = {}
    for kind in CAUSAL:
        try:
            said = kind().to_dict()
        except Exception:
            continue  # it has no defaults
        try:
            refuse_code(said, Path("config.json"), 10**6)
        except UserError as error:
            refused[kind.__name__] = error.what
    assert refused == {}


@pytest.mark.parametrize("value", ["some/repo", "some/repo@v1:fn", "../x", "a:b", "x()", "{{x}}", "https://x"])
def test_no_key_takes_the_name_of_a_repository(value: str) -> None:
    for key in (f.name for f in dataclasses.fields(LlamaConfig)):
        if key in ("transformers_version", "id2label", "label2id"):
            continue
        for said in ({key: value}, {key: [value]}, {key: {"inside": [value]}}, {"text_config": {key: value}}):
            with pytest.raises(UserError):
                refuse_code(said, Path("config.json"), 100)


def test_attention_is_ours_whatever_the_configuration_says(tiny_model: Path, tmp_path: Path) -> None:
    folder = copy_of(tiny_model, tmp_path / "model")
    says("config.json", _attn_implementation="flash_attention_2", attn_implementation="flex_attention")(folder)
    says("config.json", experts_implementation="batched_mm")(folder)
    lm = load(resolve(str(folder)))
    assert lm.model.config._attn_implementation == "sdpa"
    assert lm.model.config._experts_implementation != "batched_mm"


def test_a_system_that_limits_no_memory_opens_models_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """macOS: there is no /proc, and a limit of memory is refused."""

    def refuses(what: int, most: tuple[int, int]) -> None:
        if what == resource.RLIMIT_AS:
            raise ValueError("current limit exceeds maximum limit")

    monkeypatch.setattr(resource, "setrlimit", refuses)
    monkeypatch.setattr("sys.platform", "darwin")
    assert attempt(lambda step: None, Limits()) is None


def test_a_copy_holds_no_lock_of_what_it_is_a_copy_of(tmp_path: Path) -> None:
    """It may outlive a process that is killed: nobody could make the entry of the store that this had begun."""
    with (tmp_path / "lock").open("w") as lock:

        def work(step: Callable[[str], None]) -> None:
            if os.path.samestat(os.fstat(lock.fileno()), os.stat(tmp_path / "lock")):
                raise ValueError("the lock is held")

        assert attempt(work, Limits()) is None
