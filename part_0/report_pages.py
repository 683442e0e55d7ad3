"""The report card as pages: report.md for a repository, report.html for a browser, one file each.

What a model has written is shown as it is, and never read as markup.
Used    demo_pipeline.py
"""

import base64
import html
import re
from pathlib import Path

from report_card import Table, tables
from runtime import replacing

TITLE = "Report card: a language model, raised in one command"


def setup_lines(report: dict) -> list[tuple[str, str]]:
    """What it ran on."""
    machine, seeds = report["machine"], report["seeds"]
    memory = f"{machine['memory_gb']:.0f} GB" if machine["memory_gb"] else "unknown"
    return [("preset", report["preset"]),
            ("seeds", ", ".join(map(str, seeds)) + (
                "" if len(seeds) == 1 else "; after ± half of the 95% interval over them")),
            ("processor", f"{machine['processor']}, threads: {machine['threads']}"),
            ("memory", memory), ("GPU", machine["gpu"]),
            ("software", (f"{machine['system']}, Python {machine['python']}, "
                          f"torch {machine['torch']}"))]


def plain(text: str) -> str:
    """A text that Markdown shows as it is, in a cell of a table."""
    text = " ".join(html.escape(text, quote=False).split())
    return re.sub(r"([\\`*_\[\]|~])", r"\\\1", text)


def markdown(report: dict, picture: str) -> str:
    """The whole page. `picture`: the name of the file that lies beside it."""
    lines = [f"# {TITLE}", "", f"![what the stages reach]({picture})", ""]
    lines += [f"- {name}: {plain(value)}" for name, value in setup_lines(report)]
    for table in tables(report):
        lines += ["", f"## {table.title}", "", plain(table.note), ""]
        head, *rows = ["| " + " | ".join(plain(text) for text in row) + " |"
                       for row in (table.header, *table.rows)]
        lines += [head, "|" + "---|" * len(table.header), *rows]
    return "\n".join(lines) + "\n"


PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 0 auto; padding: 1rem;
       color: #222; background: #fff; }}
img {{ width: 100%; max-width: 52rem; height: auto; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: .85rem; margin: .5rem 0 2rem; }}
th, td {{ text-align: left; vertical-align: top; padding: .25rem .7rem .25rem 0;
         border-bottom: 1px solid #ddd; }}
td.right {{ color: #00684c; }}
td.wrong {{ color: #a34700; }}
.note, dt {{ color: #595959; }}
dl {{ display: grid; grid-template-columns: max-content 1fr; gap: 0 1rem; }}
dd {{ margin: 0; }}
</style>
<h1>{title}</h1>
<img alt="what the stages reach" src="data:image/png;base64,{picture}">
<dl>{setup}</dl>
{body}
</html>
"""


def html_table(table: Table) -> str:
    """One table with its heading; it scrolls by itself where the screen is narrow."""
    head = "".join(f"<th>{html.escape(text)}</th>" for text in table.header)
    rows = []
    for row in table.rows:
        kinds = [' class="right"' if text.startswith("✓") else ' class="wrong"'
                 if text.startswith("✗") else "" for text in row]
        rows.append("<tr>" + "".join(f"<td{kind}>{html.escape(text)}</td>"
                                     for kind, text in zip(kinds, row)) + "</tr>")
    return (f"<h2>{html.escape(table.title)}</h2>\n<p class=\"note\">{html.escape(table.note)}</p>\n"
            f"<div class=\"wide\"><table>\n<tr>{head}</tr>\n" + "\n".join(rows) + "\n</table></div>")


def html_page(report: dict, picture: bytes) -> str:
    """The whole page, the picture inside it."""
    setup = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>"
                    for name, value in setup_lines(report))
    return PAGE.format(title=html.escape(TITLE), picture=base64.b64encode(picture).decode(),
                       setup=setup, body="\n".join(html_table(t) for t in tables(report)))


def write_pages(report: dict, folder: Path, picture: Path) -> None:
    """report.md and report.html, each whole or not at all."""
    for name, text in (("report.md", markdown(report, picture.name)),
                       ("report.html", html_page(report, picture.read_bytes()))):
        with replacing(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
        print(f"report  {folder / name}")
