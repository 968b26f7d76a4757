"""A suspect, its base, and audits that are carried out in this process: to start one with torch takes seconds."""

import pytest
from locators.conftest import base, control, planted  # noqa: F401

from dormouse.audits.runner import Runner
from dormouse.audits.worker import answer


class InProcess(Runner):
    """Tasks that share this process. Whether one can be lost is tested with the real one."""

    def _answered(self, task, limit):
        return answer(task)


@pytest.fixture(scope="session")
def in_process():
    return InProcess
