"""What a page holds, read by the parser of the standard library."""

from html.parser import HTMLParser


class Loaded(HTMLParser):
    """The tags of a page, what they load, and its text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.sources, self.text = [], [], ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.sources += [value for name, value in attributes if name in ("src", "href", "srcset")]

    def handle_data(self, data):
        self.text += data
