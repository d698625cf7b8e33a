"""Reads our pages as a person does: the words in them, and the cells of their table."""

import re
from html import unescape


def text_of(markup: str) -> str:
    """The words of a piece of a page, with single spaces."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", markup)).split())


def rows(page: str) -> list[list[str]]:
    """The table's body: the words of each cell."""
    body = re.search(r"<tbody>(.*)</tbody>", page, re.DOTALL)
    if not body:
        return []
    return [
        [text_of(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL)]
        for row in re.findall(r"<tr>(.*?)</tr>", body[1], re.DOTALL)
    ]
