"""Reads report pages in tests."""

import base64
from html.parser import HTMLParser

VOID = {"meta", "link", "img", "br", "input", "hr"}


class Document(HTMLParser):
    """Elements with their attributes, and the text that a reader sees."""

    def __init__(self, page: str):
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.text, self.script, self.style = "", "", ""
        self.feed(page)
        assert self.open == [], "elements that are not closed"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        within = self.open[-1] if self.open else ""
        if within == "script":
            self.script += data
        elif within == "style":
            self.style += data
        else:
            self.text += " ".join(data.split()) + " "

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.elements if name == tag]


def payload(uri: str) -> bytes:
    return base64.b64decode(uri.partition(",")[2])
