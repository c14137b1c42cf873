"""Schedules from the command line."""

from actors.cli.exits import Exit

SCHEDULE = """\
name: every-morning
workflow: note
cron: 0 9 * * MON-FRI
timezone: Europe/Berlin
tick_input: text
overlap: allow_all
"""


def test_schedules(agentic, tmp_path):
    assert agentic("schedules", "list", "--json").data == []
    assert "no schedules yet" in agentic("schedules", "list").output
    agentic("workflows", "publish", "note.yaml")
    (tmp_path / "schedule.yaml").write_text(SCHEDULE)
    assert "every-morning starts note: At 09:00 on Monday through Friday" in agentic("schedules", "put", "schedule.yaml").output
    assert "active" in agentic("schedules", "list").output
    assert len(agentic("schedules", "upcoming", "every-morning", "-n", "3", "--json").data) == 3
    assert "due" in agentic("schedules", "upcoming", "every-morning").output
    assert "paused" in agentic("schedules", "pause", "every-morning", "--note", "holidays").output
    assert "holidays" in agentic("schedules", "show", "every-morning").output
    assert "next at" in agentic("schedules", "resume", "every-morning").output
    run = agentic("runs", "watch", agentic("schedules", "trigger", "every-morning").output.strip(), "--json").data
    assert run["schedule"]["tick"] is None
    week = ("--from", "2026-01-05T00:00:00+01:00", "--to", "2026-01-06T23:00:00+01:00")
    asked = agentic("schedules", "backfill", "every-morning", *week, "--parallel", "--json").data
    assert [tick["tick"] for tick in asked] == ["2026-01-05T08:00:00.000Z", "2026-01-06T08:00:00.000Z"]
    while any(tick["outcome"] == "buffered" for tick in agentic("schedules", "show", "every-morning", "--json").data["ticks"]):
        continue
    assert "started" in agentic("schedules", "backfill", "every-morning", *week).output
    assert "is deleted" in agentic("schedules", "delete", "every-morning", "--yes").output
    assert "there is no schedule" in agentic("schedules", "show", "every-morning", expect=Exit.NOT_FOUND).output


def test_a_schedule_that_is_wrong_says_all_of_it(agentic, tmp_path):
    (tmp_path / "wrong.yaml").write_text("name: wrong\nworkflow: note\ncron: 61 * * * *\ntimezone: Berln\n")
    output = agentic("schedules", "put", "wrong.yaml", expect=Exit.USAGE).output
    assert "/cron/0: the minute field '61'" in output
    assert "/timezone: there is no time zone 'Berln'" in output
    (tmp_path / "nameless.yaml").write_text("workflow: note\n")
    assert "`name`" in agentic("schedules", "put", "nameless.yaml", expect=Exit.USAGE).output
    (tmp_path / "schedule.yaml").write_text(SCHEDULE)
    agentic("workflows", "publish", "note.yaml")
    agentic("schedules", "put", "schedule.yaml", "--json")
    assert "nothing was deleted" in agentic("schedules", "delete", "every-morning", expect=Exit.CANCELED, stdin="n\n").output
    agentic("schedules", "delete", "every-morning", "-y")
