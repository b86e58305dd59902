"""Commands killed at random moments leave no process and no half file, and can be run again."""

import random
from pathlib import Path

import pytest

from tests.robustness.kills import COMMANDS, Command, finish, kill_once, make_inputs

# Of each command. 47 kills of eight commands and the page (2026-11-30) found no fault:
# the last process was gone after 14.8 s, nothing was half-written, and all commands went on.
KILLS = 4

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="of Linux only"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("random_kills")
    make_inputs(folder)
    return folder


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_command_when_killed_at_random_then_nothing_is_left_and_it_goes_on(
    folder: Path, command: Command
) -> None:
    source = random.Random(command.name)
    for number in range(KILLS):
        kill_once(folder, command, number, source)
    finish(folder, command)
