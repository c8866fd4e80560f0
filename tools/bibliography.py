"""Write book/bibliography.md from references.bib, as a list that every reader of Markdown shows."""

import re
from pathlib import Path

from pybtex.backends.markdown import Backend
from pybtex.database import Entry, parse_file
from pybtex.style.formatting.plain import Style

BOOK = Path(__file__).resolve().parents[1] / "book"


def bibliography() -> str:
    """The page: every entry under its key, by author and year."""
    data, backend = parse_file(str(BOOK / "references.bib")), Backend()
    found = list(Style().format_entries(data.entries.values()))
    texts = {each.key: each.text.render(backend) for each in found}
    keys = sorted(texts, key=lambda key: name(data.entries[key]).lower())
    lines = [f'- <a id="{key}"></a>{name(data.entries[key])}. {plain(texts[key])}' for key in keys]
    return "\n".join(["# Bibliography", "", *lines, ""])


def name(entry: Entry) -> str:
    """The authors' last names and the year, as chapters cite."""
    people = entry.persons.get("author") or entry.persons["editor"]
    last = [re.sub("[{}]", "", " ".join(person.last_names)) for person in people]
    who = " and ".join(last) if len(last) < 3 else f"{last[0]} et al."
    return f"{who}, {entry.fields['year']}"


def plain(text: str) -> str:
    """One line; addresses are links, and only what Markdown would read otherwise is escaped."""
    text = re.sub(r"\\+url (\S+?)(?=[,.]? |[,.]?$)", lambda m: f"<{m[1]}>", " ".join(text.split()))
    text = re.sub(r"\\([^\w\s*_<>\[\]])", r"\1", text)
    return re.sub(r"<[^>]*>", lambda m: m[0].replace("\\", ""), text)


if __name__ == "__main__":
    (BOOK / "bibliography.md").write_text(bibliography(), encoding="utf-8")
