"""What a person at the machine sees."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from keng_loudspeaker.cli import cli
from keng_loudspeaker.settings import LoudspeakerSettings
from keng_runtime.settings import load, sample_toml
from tests.support.broker import credentials

PART = Path(__file__).parents[2] / "loudspeaker"


def test_the_sample_is_what_the_settings_are() -> None:
    sample = (PART / "sample.toml").read_text(encoding="utf-8")
    assert sample == sample_toml(LoudspeakerSettings, "keng-loudspeaker: the node at a loudspeaker")
    assert load(LoudspeakerSettings, PART / "sample.toml").commune == "quang-tho"


def test_help_shows_how_it_is_used() -> None:
    shown = CliRunner().invoke(cli, ["--help"])
    assert shown.exit_code == 0
    assert all(word in shown.output for word in ("run", "check", "say", "play", "status", "Examples"))


def test_check_says_what_is_missing_and_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tmp_path / "loudspeaker.toml"
    settings.write_text(f'commune = "quang-tho"\ndevice = "null"\n[broker]\ncredentials = "{tmp_path}/nowhere"\n')
    shown = CliRunner().invoke(cli, ["check", "--settings", str(settings)])
    assert shown.exit_code == 1
    assert "✓ mpv" in shown.output and "voice vi" in shown.output
    assert "✗ credentials" in shown.output and "keng provision" in shown.output
    settings.write_text(settings.read_text().replace(f"{tmp_path}/nowhere", str(credentials() / "loa-phuoc-yen")))
    shown = CliRunner().invoke(cli, ["check", "--settings", str(settings)])
    assert shown.exit_code == 0 and "alerts may play, stop" in shown.output
    monkeypatch.setenv("PATH", str(tmp_path))
    shown = CliRunner().invoke(cli, ["check", "--settings", str(settings)])
    assert shown.exit_code == 1 and "apt-get install mpv" in shown.output


def test_check_looks_at_voices_that_the_settings_name(tmp_path: Path) -> None:
    words, settings = tmp_path / "words", tmp_path / "loudspeaker.toml"
    settings.write_text(
        f'commune = "quang-tho"\ndevice = "null"\nrecorded_words = "{words}"\npiper_voice = "{tmp_path}/vi.onnx"\n'
        f'[broker]\ncredentials = "{credentials() / "loa-phuoc-yen"}"\n'
    )
    shown = CliRunner().invoke(cli, ["check", "--settings", str(settings)])
    assert shown.exit_code == 0 and "! piper" in shown.output and "! recorded words" in shown.output
    words.mkdir()
    (words / "clips.tsv").write_text("ba.wav\tba\n")
    assert "without ba.wav" in CliRunner().invoke(cli, ["check", "--settings", str(settings)]).output
    (words / "ba.wav").touch()
    assert "1 recordings" in CliRunner().invoke(cli, ["check", "--settings", str(settings)]).output


def test_say_speaks_and_tells_what_was_heard() -> None:
    shown = CliRunner().invoke(cli, ["say", "--device", "null", "BĐ 3"])
    assert shown.exit_code == 0, shown.output
    assert "báo động ba" in shown.output and "dBFS" in shown.output
    assert "phát xong trên null" in shown.output and "finished on null" in shown.output


def test_a_file_that_is_no_sound_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "anh.mp3").write_text("no sound")
    shown = CliRunner().invoke(cli, ["play", "--device", "null", str(tmp_path / "anh.mp3")])
    assert shown.exit_code == 2 and "nothing was heard" in shown.output and "Traceback" not in shown.output


def test_status_without_a_node_says_what_to_look_at(tmp_path: Path) -> None:
    settings = tmp_path / "loudspeaker.toml"
    settings.write_text(f'commune = "quang-tho"\nstate = "{tmp_path}"\n')
    shown = CliRunner().invoke(cli, ["status", "--settings", str(settings)])
    assert shown.exit_code == 2 and "is the node running" in shown.output
    (tmp_path / "status.json").write_text(json.dumps({"state": "online"}))
    shown = CliRunner().invoke(cli, ["status", "--settings", str(settings)])
    assert json.loads(shown.output) == {"state": "online"}
