"""A few rounds of ``keng bench edge-kills``; hundreds are run by hand."""

import json

import pytest
from click.testing import CliRunner

from keng.bench.edge_kills import command


@pytest.mark.system
def test_an_agent_that_is_killed_loses_nothing_and_doubles_nothing() -> None:
    done = CliRunner().invoke(command, ["--rounds", "3", "--json"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["committed"] == said["stored"] > 0
    assert (said["lost"], said["doubled"], said["damaged"]) == (0, 0, 0)
