"""What a viewer lacks: only what changed, whoever asks and however late."""

from __future__ import annotations

import asyncio

from keng_console.board import Board
from keng_console.pages import Rendering, Section


class Drawn:
    """A page whose sections a test sets."""

    def __init__(self, **sections: str) -> None:
        self.sections = sections

    def __call__(self, language: str) -> Rendering:
        sections = tuple(Section(id_, f"{language}:{html}") for id_, html in self.sections.items())
        return Rendering(language, 0, "title", "calm", sections)


def changed(board: Board, revision: str, language: str = "vi") -> list[str] | None:
    update = board.since(language, revision)
    return None if update is None else [s.id for s in update.sections]


def test_only_what_changed_is_sent() -> None:
    drawn = Drawn(a="1", b="1")
    board = Board("boot", drawn)
    board.refresh("vi")
    start = board.revision
    assert changed(board, start) is None
    drawn.sections["b"] = "2"
    board.refresh("vi")
    middle = board.revision
    assert changed(board, start) == ["b"] and changed(board, middle) is None
    drawn.sections["a"] = "2"
    board.refresh("vi")
    assert changed(board, start) == ["a", "b"]
    assert changed(board, middle) == ["a"]


def test_a_section_that_only_grew_older_is_not_sent() -> None:
    drawn = Drawn(a='<time data-age datetime="x">vừa xong</time>')
    board = Board("boot", drawn)
    board.refresh("vi")
    start = board.revision
    drawn.sections["a"] = '<time data-age datetime="x">12 giây trước</time>'
    board.refresh("vi")
    assert changed(board, start) is None


def test_a_viewer_of_another_boot_or_of_another_page_loads_it_again() -> None:
    drawn = Drawn(a="1")
    board = Board("boot", drawn)
    board.refresh("vi")
    start = board.revision
    for strange in ("", "other-5", "boot-", "boot-x", "\0"):
        update = board.since("vi", strange)
        assert update is not None and update.reload
    drawn.sections["b"] = "1"  # another registry: there is a new gauge
    board.refresh("vi")
    update = board.since("vi", start)
    assert update is not None and update.reload
    assert board.since("vi", board.revision) is None


def test_languages_do_not_disturb_each_other() -> None:
    drawn = Drawn(a="1")
    board = Board("boot", drawn)
    board.refresh("vi")
    board.refresh("en")
    start = board.revision
    drawn.sections["a"] = "2"
    board.refresh("vi")
    assert changed(board, start, "vi") == ["a"] and changed(board, start, "en") is None


async def test_viewers_are_woken_by_news_and_drawn_for_only_while_they_look() -> None:
    drawn = Drawn(a="1")
    board = Board("boot", drawn)
    with board.watch("vi"):
        assert board.viewers == 1
        waiting = asyncio.create_task(board.news(10))
        await asyncio.sleep(0)
        drawn.sections["a"] = "2"
        board.refresh_watched()
        assert await waiting
        assert not await board.news(0.01)
        leaving = asyncio.create_task(board.news(10))
        await asyncio.sleep(0)
        board.close()
        assert await leaving and board.closed
    assert board.viewers == 0
    start = board.revision
    drawn.sections["a"] = "3"
    board.refresh_watched()
    assert board.revision == start
