"""Reading, ranking, saving and publishing for the research brief."""

from pathlib import Path
from typing import Any

DATA = Path(__file__).parent.parent / "data"


def read_sources() -> list[dict[str, str]]:
    """Every text of examples/data by name: `[{file, text}]`."""
    return [{"file": path.name, "text": path.read_text(encoding="utf-8")} for path in sorted(DATA.glob("*.txt"))]


def rank(sources: list[dict[str, str]], notes: list[dict[str, Any] | None], best: int) -> dict[str, Any]:
    """The `best` notes by score, each with its file; equal scores in the order of the files. Notes that failed are null."""
    read = [{"file": source["file"], **note} for source, note in zip(sources, notes, strict=True) if note is not None]
    ordered = sorted(read, key=lambda note: (-note["score"], note["file"]))
    return {"read": len(read), "failed": len(notes) - len(read), "notes": ordered[:best]}


async def save_brief(topic: str, brief: dict[str, Any], notes: list[dict[str, Any]], read: int, context: Any) -> dict[str, Any]:
    """Keep the brief as `brief.md`; gives its text and the artifact."""
    markdown = as_markdown(topic, brief, notes, read)
    artifact = await context.save_artifact("brief.md", markdown, "text/markdown")
    return {"markdown": markdown, "artifact": artifact}


def as_markdown(topic: str, brief: dict[str, Any], notes: list[dict[str, Any]], read: int) -> str:
    """The brief as a person reads it, with its sources at the end."""
    findings = [f"- {finding}" for finding in brief["findings"]]
    sources = [f"{place}. {note['title']} ({note['file']}, relevance {note['score']:.2f})" for place, note in enumerate(notes, 1)]
    parts = [
        f"# {brief['title']}",
        f"*On {topic}. {read} texts were read; the {len(notes)} most relevant are listed below.*",
        brief["summary"],
        "## Findings",
        "\n".join(findings),
        "## Recommendation",
        brief["recommendation"],
        "## Sources",
        "\n".join(sources),
    ]
    return "\n\n".join(parts) + "\n"


async def publish(markdown: str, by: str | None, context: Any) -> dict[str, Any]:
    """Put the approved brief out as `published.md`. A real one would send it on, with `context.idempotency_key`."""
    text = f"{markdown}\n---\nApproved by {by or 'a person'}.\n"
    artifact = await context.save_artifact("published.md", text, "text/markdown")
    return {"status": "published", "artifact": artifact}
