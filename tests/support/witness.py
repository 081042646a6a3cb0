"""Who stands below the loudspeaker and writes down what sounds, and when: at the output of the node's file player."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from keng_loudspeaker.playing.file_player import FilePlayer, Output
from keng_loudspeaker.playing.filters import Shape
from keng_loudspeaker.playing.sound import RATE


@dataclass(eq=False)
class Sounding:
    """A file that sounded, from its place ``from_s`` on; times are the loop's."""

    name: str
    from_s: float
    at_s: float
    until_s: float


class Witness:
    """What sounded, over all runs of the node."""

    def __init__(self) -> None:
        self.soundings: list[Sounding] = []
        self._loaded: dict[FilePlayer, Sounding | tuple[str, float]] = {}

    def patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        load, take = FilePlayer._load, Output.take

        def loading(player: FilePlayer, source: Path | str, shape: Shape, from_s: float) -> None:
            load(player, source, shape, from_s)
            self._loaded[player] = (Path(source).name, from_s)

        def taking(output: Output, data: bytes, due_s: float) -> None:
            player = output._player
            assert player is not None
            heard = self._loaded[player]
            if isinstance(heard, tuple):
                heard = self._loaded[player] = Sounding(*heard, at_s=due_s, until_s=due_s)
                self.soundings.append(heard)
            heard.until_s = due_s + len(data) / 2 / RATE
            take(output, data, due_s)

        monkeypatch.setattr(FilePlayer, "_load", loading)
        monkeypatch.setattr(Output, "take", taking)

    def playing(self) -> bool:
        """Whether a player has anything to do."""
        self._loaded = {player: heard for player, heard in self._loaded.items() if not player._silenced}
        return bool(self._loaded)

    def cut(self) -> None:
        """The power goes."""
        for player in self._loaded:
            player.silence()
