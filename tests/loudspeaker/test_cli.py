"""What a person at the machine sees."""

from __future__ import annotations

import json
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from keng_loudspeaker.cli import cli
from keng_loudspeaker.proving.health import VIETNAMESE
from keng_loudspeaker.settings import LoudspeakerSettings
from keng_runtime.settings import load, sample_toml
from tests.support.broker import credentials
from tests.support.processes import eventually

PART = Path(__file__).parents[2] / "loudspeaker"


def test_the_sample_is_what_the_settings_are() -> None:
    sample = (PART / "sample.toml").read_text(encoding="utf-8")
    assert sample == sample_toml(LoudspeakerSettings, "keng-loudspeaker: the node at a loudspeaker")
    assert load(LoudspeakerSettings, PART / "sample.toml").commune == "quang-tho"


def test_help_shows_how_it_is_used() -> None:
    shown = CliRunner().invoke(cli, ["--help"])
    assert shown.exit_code == 0
    assert all(word in shown.output for word in ("run", "check", "say", "play", "status", "Examples"))


class Shown:
    """What a command wrote, as lines and as running text, and how it ended."""

    def __init__(self, *words: str) -> None:
        result = CliRunner().invoke(cli, list(words), env={"COLUMNS": "80"})
        self.status, self.raw = result.exit_code, result.output
        self.text = " ".join(self.raw.split())
        assert "Traceback" not in self.raw and not isinstance(result.exception, Exception), result.exception
        assert unicodedata.is_normalized("NFC", self.raw)

    @property
    def fits(self) -> bool:
        """On a terminal of 80 columns, where no path is longer than that."""
        return all(len(line) <= 80 for line in self.raw.splitlines())

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.raw)
        return found


def node_settings(folder: Path, credentials: Path, more: str = "") -> str:
    file = folder / "loudspeaker.toml"
    file.write_text(
        f'commune = "quang-tho"\nstate = "{folder}"\ndevice = "null"\n{more}[broker]\ncredentials = "{credentials}"\n'
    )
    return str(file)


def test_check_says_in_both_languages_what_is_missing_and_how_to_get_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = Shown("check", "--settings", node_settings(folder, folder / "nowhere"))
    assert shown.status == 1 and shown.fits
    assert "✓ mpv" in shown.text and "có giọng vi" in shown.text and "with the voice vi" in shown.text
    assert "✗ chứng thư" in shown.text and "credentials:" in shown.text and "keng provision" in shown.text
    assert shown.raw.endswith("Còn thiếu 1 thứ: xem dấu ✗.\n  Missing: 1; see ✗.\n")
    settings = node_settings(folder, credentials() / "loa-phuoc-yen")
    shown = Shown("check", "--settings", settings)
    assert shown.status == 0 and shown.fits
    assert "alerts được phát, dừng" in shown.text and "alerts may play, stop" in shown.text
    monkeypatch.setenv("PATH", str(folder))
    shown = Shown("check", "--settings", settings)
    assert shown.status == 1 and "✗ mpv: chưa cài đặt mpv: not installed → apt-get install mpv" in shown.text


def test_check_tells_a_machine_in_json(folder: Path) -> None:
    found = Shown("check", "--json", "--settings", node_settings(folder, folder / "nowhere")).json
    assert found["ok"] is False
    by_name = {one["name"]["en"]: one for one in found["findings"]}
    assert by_name["mpv"]["ok"] and not by_name["credentials"]["ok"] and by_name["credentials"]["needed"]
    assert by_name["credentials"]["todo"]["vi"].startswith("tạo bằng 'keng provision'")


def test_check_looks_at_voices_and_sensors_that_the_settings_name(folder: Path) -> None:
    words, sensor = folder / "words", folder / "curr1_input"
    more = f'recorded_words = "{words}"\npiper_voice = "{folder}/vi.onnx"\namplifier_current = "{sensor}"\n'
    settings = node_settings(folder, credentials() / "loa-phuoc-yen", more)
    shown = Shown("check", "--settings", settings)
    assert shown.status == 0
    assert all(f"! {name}" in shown.text for name in ("piper", "từ ghi âm sẵn", "dòng điện của tăng âm"))
    words.mkdir()
    (words / "clips.tsv").write_text("ba.wav\tba\n")
    sensor.write_text("80\n")
    shown = Shown("check", "--settings", settings)
    assert "without ba.wav" in shown.text and "✓ dòng điện của tăng âm: 80 mA" in shown.text
    (words / "ba.wav").touch()
    assert "recorded words: 1 recordings" in Shown("check", "--settings", settings).text


def test_say_speaks_and_tells_what_was_heard() -> None:
    shown = Shown("say", "--device", "null", "BĐ 3")
    assert shown.status == 0 and shown.fits, shown.raw
    assert shown.raw.startswith("báo động ba\nbắt đầu trên null, nghe thấy sau ")
    assert "phát xong trên null" in shown.text and "finished on null" in shown.text and "dBFS" in shown.text
    heard = Shown("say", "--json", "--device", "null", "BĐ 3").json
    assert (heard["played"], heard["what"]) == ("báo động ba", "finished") and heard["level_dbfs"] > -30


def test_what_can_not_be_played_is_told_in_both_languages(folder: Path) -> None:
    (folder / "anh.mp3").write_text("no sound")
    shown = Shown("play", "--device", "null", str(folder / "anh.mp3"))
    assert shown.status == 2 and shown.fits
    assert "không nghe thấy gì" in shown.text and "nothing was heard" in shown.text
    shown = Shown("play", "--device", "null", str(folder / "khong-co.mp3"))
    assert shown.status == 2 and "không có tệp này" in shown.text and "there is no such file" in shown.text
    shown = Shown("say", "--device", "null", "…")
    assert shown.status == 2 and "không đọc thành tiếng được" in shown.text and "the text has no words" in shown.text


def test_settings_that_are_wrong_are_told_in_both_languages(folder: Path) -> None:
    (folder / "a.toml").write_text('commune = "quang-tho"\ndevic = "null"\n')
    for command in ("check", "status"):
        shown = Shown(command, "--settings", str(folder / "a.toml"))
        assert shown.status == 2 and shown.fits
        assert "tệp cài đặt này chưa dùng được" in shown.text and "line 2, devic: is no setting" in shown.text


def test_status_without_a_node_says_what_to_look_at(folder: Path) -> None:
    shown = Shown("status", "--settings", node_settings(folder, folder))
    assert shown.status == 2
    assert "loa có đang chạy không" in shown.text and "is the node running" in shown.text


def test_status_of_a_node_that_runs_and_of_one_that_is_gone(folder: Path) -> None:
    settings = node_settings(folder, folder)
    said = {"state": "online", "connected": True, "version": "1.2", "device": "loa", "playing": "ban-tin", "volume": 80}
    said |= {"clock": "unknown", "zones": ["ven-song"], "programme": 3, "refused": 2, "problems": [*VIETNAMESE, "odd"]}
    node = subprocess.Popen([sys.executable, "-c", "input()", "loudspeaker"], stdin=subprocess.PIPE)
    # The kernel shows the new command line a moment after the program has been started.
    eventually(lambda: b"loudspeaker" in Path(f"/proc/{node.pid}/cmdline").read_bytes())
    (folder / "status.json").write_text(json.dumps({**said, "pid": node.pid, "at_ms": 1}))
    shown = Shown("status", "--settings", settings)
    assert shown.status == 0 and shown.fits
    for words in ("✓ loa đang chạy, có kết nối", "đang phát: ban-tin", "playing: ban-tin", "cụm loa: ven-song",
                  "chương trình: bản 3; lệnh đã từ chối: 2", "đồng hồ: không ai giữ", "MB free", "! odd",
                  *VIETNAMESE, *VIETNAMESE.values()):  # fmt: skip
        assert words in shown.text
    assert Shown("status", "--json", "--settings", settings).json["running"] is True
    node.communicate(b"\n")
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    for pid in (node.pid, other.pid):  # it has gone, and another process may have its number
        (folder / "status.json").write_text(json.dumps({**said, "pid": pid, "at_ms": 1_763_000_000_000}))
        shown = Shown("status", "--settings", settings)
        assert shown.status == 1 and "✗ loa không chạy" in shown.text and "đang phát" not in shown.text
    other.communicate(b"\n")
    assert Shown("status", "--json", "--settings", settings).json["running"] is False
