"""Turns Markdown into one HTML file that contains its pictures."""

import base64
from html import escape

from markdown_it import MarkdownIt

# On a phone a wide picture keeps a legible size and is moved sideways, as a wide table is.
_STYLE = """
:root { color-scheme: light dark; --line: #d0d4da; --shade: #f3f5f7; }
@media (prefers-color-scheme: dark) { :root { --line: #3c434c; --shade: #1f242a; } }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere;
  font: 1rem/1.5 system-ui, sans-serif; background: Canvas; color: CanvasText; }
h2 { margin-top: 3rem; border-bottom: 1px solid var(--line); }
h3 { margin-top: 2.5rem; }
table { display: block; overflow-x: auto; border-collapse: collapse; font-size: 0.9rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: 0.3rem 0.7rem; border-bottom: 1px solid var(--line); text-align: left;
  white-space: nowrap; }
td:first-child { white-space: normal; min-width: 8rem; }
th { background: var(--shade); }
code { background: var(--shade); font-size: 0.85rem; }
pre { background: var(--shade); padding: 0.7rem; overflow-x: auto; }
p:has(> img) { overflow-x: auto; }
img { max-width: 100%; background: white; border-radius: 4px; }
@media (max-width: 40rem) { img { max-width: max(100%, 36rem); } }
"""

# The policy makes the browser refuse everything that is not in the page itself.
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}</body>
</html>
"""


def html_page(markdown, title, folder):
    """Return Markdown as an HTML page with its pictures in it.

    Args:
        markdown: Text; raw HTML in it is shown as text.
        title: Title of the page.
        folder: `Path` of the folder of the pictures, PNG files.

    Returns:
        Text.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(markdown)
    for token in tokens:
        for child in token.children or ():
            if child.type == "image":
                picture = base64.b64encode((folder / child.attrs["src"]).read_bytes()).decode()
                child.attrs["src"] = f"data:image/png;base64,{picture}"
    body = parser.renderer.render(tokens, parser.options, {})
    return _PAGE.format(title=escape(title), style=_STYLE, body=body)
