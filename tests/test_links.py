"""Every link of the documentation leads somewhere: to a file that is there, and to a heading that it has."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

_CODE = re.compile(r"```.*?```", re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)


def pages(repository: Path) -> list[Path]:
    """All pages of the repository; what is installed or built lies in none of these folders."""
    places = ("*.md", "docs/**/*.md", "monitor/**/*.md", "models/**/*.md", "export/**/*.md", "benchmarks/**/*.md",
              "tests/**/*.md")  # fmt: skip
    return sorted({path for place in places for path in repository.glob(place)})


def broken(page: Path) -> list[str]:
    """Links of a page, within the repository, that lead nowhere."""
    wrong = []
    for link in _LINK.findall(_CODE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            wrong.append(f"{page.name}: {link}")
    return wrong


@cache
def anchors(page: Path) -> frozenset[str]:
    """What a page's headings are called in links: lower case, hyphens for spaces, no other signs."""
    headings = _HEADING.findall(_CODE.sub("", page.read_text(encoding="utf-8")))
    plain = (_LINK.sub("]", heading).lower() for heading in headings)
    return frozenset(re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain)


def test_every_link_of_the_documentation_leads_somewhere(repository: Path) -> None:
    found = pages(repository)
    assert {"README.md", "dashboard.md", "card.md"} <= {page.name for page in found}
    assert [wrong for page in found for wrong in broken(page)] == []


def test_a_link_to_nothing_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# The `first` heading, here\n\n[a](page.md) [b](#the-first-heading-here) [c](https://nowhere.invalid)\n"
        "[d](gone.md) [e](page.md#gone)\n\n```\n[f](gone.md)\n```\n",
        encoding="utf-8",
    )
    assert broken(page) == ["page.md: gone.md", "page.md: page.md#gone"]
