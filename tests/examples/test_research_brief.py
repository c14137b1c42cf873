"""The main example, from a folder of texts to an approved brief."""

import pytest

from examples.research_brief.functions import rank
from runtime.agents.digest import MARK

PATH = "research_brief/workflow.yaml"


@pytest.mark.parametrize(("approved", "road", "status"), [(True, "publish", "published"), (False, "archive", "archived")])
async def test_from_texts_to_a_decision(desk, approved, road, status):
    run = await desk.start(PATH)
    approval = await desk.approval(run)
    assert approval.message.startswith('Publish the brief "')
    await desk.gateway.decide("default", approval.approval_id, approved=approved, form={"remark": "Good."}, comment="seen", by="ida")
    outputs = await desk.outputs(run)
    assert outputs["decision"] == road
    statuses = await desk.statuses(run)
    assert statuses[road] == "succeeded"
    assert statuses["archive" if approved else "publish"] == "skipped"
    brief = await desk.artifact(run, "brief.md")
    assert brief == outputs["brief"]
    assert "36 texts were read; the 8 most relevant" in brief
    assert MARK in brief, "what no model wrote says so"
    if approved:
        assert (await desk.artifact(run, "published.md")).endswith("Approved by ida.\n")
    step, _ = await desk.gateway.step("default", run.run_id, road)
    assert step.output["status"] == status


async def test_every_text_gets_a_note_and_the_topic_decides_the_order(desk):
    run = await desk.start(PATH, topic="the pressure valves and the losses they saved", best=3)
    await desk.approval(run)
    step, _ = await desk.gateway.step("default", run.run_id, "notes")
    assert (step.items.total, step.items.done) == (36, 36)
    ranked, _ = await desk.gateway.step("default", run.run_id, "rank")
    notes = ranked.output["notes"]
    assert [note["score"] for note in notes] == sorted((note["score"] for note in notes), reverse=True)
    assert "09-pressure.txt" in [note["file"] for note in notes]


async def test_the_same_question_gets_the_same_brief(desk):
    briefs = []
    for _ in range(2):
        run = await desk.start(PATH)
        await desk.approval(run)
        briefs.append(await desk.artifact(run, "brief.md"))
    assert briefs[0] == briefs[1]


def test_a_text_whose_note_failed_is_left_out():
    sources = [{"file": name, "text": ""} for name in "abc"]
    ranked = rank(sources, [{"score": 0.2}, None, {"score": 0.9}], best=5)
    assert [note["file"] for note in ranked["notes"]] == ["c", "a"]
    assert (ranked["read"], ranked["failed"]) == (2, 1)
