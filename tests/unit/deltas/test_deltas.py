"""Pieces of text between those who speak and those who listen: joined, bounded, told apart, and given again to those who come in the middle."""

import asyncio

from runtime.deltas import buffer as buffers
from runtime.deltas.buffer import Buffer
from runtime.deltas.delta import Delta
from runtime.deltas.fan import Fan
from runtime.deltas.stories import Stories
from runtime.deltas.voice import PIECE, Speaker
from runtime.redaction import redact
from tests.support.ears import Ears, text_of


def delta(offset: int, text: str, *, run: str = "r", step: str = "a", call: int = 1, attempt: int = 1, index: int | None = None) -> Delta:
    return Delta(run, step, index, attempt, call, offset, text)


def mark(offset: int, **what: object) -> Delta:
    return Delta("r", "a", None, 1, 1, offset, "", **what)


# --- the speaking end ------------------------------------------------------------------------------------------------


def test_a_voice_counts_characters() -> None:
    ears = Ears()
    voice = Speaker(ears, "r", "poll#3", 4, 2).voice(5, json=True)
    for text in ("seal: 🦭", "", " é"):
        voice.say(text)
    voice.end()
    assert ears.deltas == [Delta("r", "poll#3", 4, 2, 5, 0, "seal: 🦭", json=True), Delta("r", "poll#3", 4, 2, 5, 7, " é", json=True), ears.deltas[-1]]
    assert ears.deltas[-1].ended


def test_long_texts_are_cut() -> None:
    ears = Ears()
    Speaker(ears, "r", "a", None, 1).voice(1, json=False).say("x" * (2 * PIECE + 1))
    assert [(one.offset, len(one.text)) for one in ears.deltas] == [(0, PIECE), (PIECE, PIECE), (2 * PIECE, 1)]


def test_a_voice_does_not_spell_a_secret() -> None:
    ears = Ears()
    redact.know("zz-key-that-a-model-repeats")
    voice = Speaker(ears, "r", "a", None, 1).voice(1, json=False)
    for text in ("my key: zz-key-", "that-a-", "model-repeats, and", " zz"):
        voice.say(text)
    voice.end()
    assert [(one.offset, one.text) for one in ears.deltas[:-1]] == [(0, "my key: "), (8, "***, and"), (16, " "), (17, "zz")]
    assert ears.deltas[-1].offset == 19


def test_who_has_said_nothing_has_nothing_to_take_back() -> None:
    ears = Ears()
    voice = Speaker(ears, "r", "a", None, 1).voice(1, json=False)
    voice.end()
    voice.drop("timeout")
    assert ears.deltas == []
    voice.say("x")
    voice.drop("timeout")
    voice.drop("timeout")
    assert ears.marks == ["timeout"]


# --- what waits for a reader -----------------------------------------------------------------------------------------


async def test_pieces_that_follow_each_other_are_one() -> None:
    buffer = Buffer()
    for one in (delta(0, "a"), delta(0, "x", step="b"), delta(1, "b"), delta(1, "y", step="b"), delta(2, "c")):
        buffer.put(one)
    assert await buffer.take() == (0, [delta(0, "abc"), delta(0, "xy", step="b")])


async def test_what_does_not_follow_stays_apart() -> None:
    buffer = Buffer()
    put = [
        delta(0, "a"),
        delta(5, "b"),
        mark(6, dropped="timeout"),
        delta(0, "c"),
        mark(1, ended=True),
        delta(0, "d", call=2),
        delta(1, "e", call=3),
        delta(2, "f", call=3, attempt=2),
    ]
    for one in put:
        buffer.put(one)
    assert await buffer.take() == (0, put)


async def test_a_reader_waits_for_the_first_piece() -> None:
    buffer = Buffer()
    taking = asyncio.create_task(buffer.take())
    await asyncio.sleep(0)
    assert not taking.done()
    buffer.put(delta(0, "a"))
    assert await taking == (0, [delta(0, "a")])


async def test_one_who_comes_at_once_waits_a_moment_so_that_crowds_are_few(monkeypatch) -> None:
    monkeypatch.setattr(buffers, "MOMENT", 60.0)
    buffer = Buffer()
    buffer.put(delta(0, "a"))
    await buffer.take()  # the first is given at once
    buffer.put(delta(1, "b"))
    taking = asyncio.create_task(buffer.take())
    await asyncio.sleep(0)
    buffer.put(delta(2, "c"))
    await asyncio.sleep(0)
    assert not taking.done()
    taking.cancel()
    await asyncio.gather(taking, return_exceptions=True)
    monkeypatch.setattr(buffers, "MOMENT", 0.0)
    assert await buffer.take() == (0, [delta(1, "bc")]), "a reader that gave up has taken nothing"


async def test_a_slow_reader_loses_pieces_and_never_memory() -> None:
    buffer = Buffer(characters=10, pieces=3)
    for place in range(1000):
        buffer.put(delta(3 * place, "abc"))
        assert buffer._size <= 10
    assert await buffer.take() == (2997, [delta(2997, "abc")])
    for place in range(1000):
        buffer.put(delta(0, "", step=f"s{place}"))
        assert len(buffer._pieces) <= 3
    lost, left = await buffer.take()
    assert lost == 333
    assert left == [delta(0, "", step="s999")]


# --- those who come in the middle ------------------------------------------------------------------------------------


def test_a_story_is_the_text_of_the_last_call() -> None:
    stories = Stories()
    for one in (delta(0, "a"), delta(1, "b"), delta(0, "x", index=1), delta(0, "c", call=2), delta(1, "d", call=2)):
        stories.add(one)
    assert stories.of("r") == [delta(0, "cd", call=2), delta(0, "x", index=1)] or stories.of("r") == [delta(0, "x", index=1), delta(0, "cd", call=2)]
    assert stories.of("other") == []


def test_marks_end_a_story_and_leave_nothing() -> None:
    for end in (mark(1, ended=True), mark(1, dropped="timeout")):
        stories = Stories()
        stories.add(delta(0, "a"))
        stories.add(end)
        assert (stories.of("r"), stories._runs, stories._size) == ([], {}, 0)
        stories.add(end)
        assert stories._runs == {}


def test_a_story_has_a_beginning_or_is_none() -> None:
    stories = Stories()
    stories.add(delta(5, "b"))
    assert stories.of("r") == []
    stories.add(delta(0, "a"))
    stories.add(delta(3, "d"))  # there is a gap
    assert stories.of("r") == []
    assert (stories._runs, stories._size) == ({}, 0)


def test_stories_are_bounded() -> None:
    stories = Stories(characters=4, everything=10)
    for step in "abcd":
        for place in range(3):
            stories.add(delta(place, "x", step=step))
    assert sum(len(one.text) for one in stories.of("r")) <= 10
    stories.add(delta(3, "x", step="a"))
    stories.add(delta(4, "x", step="a"))  # too long from here on, for good
    stories.add(delta(5, "x", step="a"))
    assert "a" not in {one.step for one in stories.of("r")}
    stories.forget("r")
    assert (stories._runs, stories._size) == ({}, 0)


# --- from one to many ------------------------------------------------------------------------------------------------


async def test_everybody_who_follows_a_run_hears_it_and_nobody_else_does() -> None:
    changes: list[tuple[str, bool]] = []
    fan = Fan(lambda run_id: changes.append((run_id, fan.followed(run_id))))
    with fan.follow("r") as first, fan.follow("r") as second, fan.follow("other") as other:
        fan.publish(delta(0, "a"))
        assert (await first.take())[1] == (await second.take())[1] == [delta(0, "a")]
        assert fan.followed("r")
        assert not other._pieces
    assert not fan.followed("r")
    assert changes == [("r", True), ("other", True), ("other", False), ("r", False)]


async def test_who_comes_in_the_middle_hears_the_beginning() -> None:
    fan = Fan()
    fan.publish(delta(0, "a"))
    with fan.follow("r") as early:
        fan.publish(delta(1, "b"))
        with fan.follow("r") as late:
            fan.publish(delta(2, "c"))
            assert text_of((await early.take())[1]) == text_of((await late.take())[1]) == "abc"
        fan.publish(mark(3, ended=True))
        with fan.follow("r") as too_late:
            assert not too_late._pieces


async def test_joining_twice_is_joining_once() -> None:
    fan, buffer = Fan(), Buffer()
    fan.publish(delta(0, "a"))
    fan.join("r", buffer)
    fan.join("r", buffer)
    assert await buffer.take() == (0, [delta(0, "a")])
    fan.leave("r", buffer)
    fan.leave("r", buffer)
    assert not fan.followed("r")


async def test_a_loss_on_the_way_is_told_to_all() -> None:
    fan = Fan()
    with fan.follow("r") as first, fan.follow("other") as second:
        fan.miss(5)
        assert await first.take() == await second.take() == (5, [])
