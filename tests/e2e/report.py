"""What vitc report wrote.

    report.py hostile IN.json OUT.json     the graph with values of hostile names
    report.py check PAGE ACCOUNT [COMPARISON]   against inspect --json (or its "info") and compare --per-node --json
    report.py names PAGE                   hostile names are text in it, and nothing else
    report.py small PAGE BYTES             at most so many bytes, and well-formed"""

import html.parser
import json
import re
import sys
import xml.etree.ElementTree as tree

XHTML, SVG = "{http://www.w3.org/1999/xhtml}", "{http://www.w3.org/2000/svg}"
HOSTILE = {"blocks.0.gelu": "</title></svg><script>alert(1)</script>", "blocks.0.residual1": "a\"b'&lt;&<!--", "logits": "\u202e\u00e9\U0001f600 ]]>"}


class Page(html.parser.HTMLParser):
    """Tags balanced as HTML's own parser sees them, and nothing that comes from elsewhere or runs."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags = [], set()
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.look(tag, attrs)

    def handle_startendtag(self, tag, attrs):
        self.look(tag, attrs)

    def look(self, tag, attrs):
        self.tags.add(tag)
        assert tag not in ("script", "iframe", "img", "link", "object", "embed", "foreignobject"), tag
        for name, value in attrs:
            assert not name.startswith("on"), name
            assert name not in ("src", "srcset", "xlink:href"), name
            assert name != "href" or value.startswith("#"), value
            assert "javascript" not in (value or "") or name in ("data-name",), value

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, (tag, self.open[-3:])
        self.open.pop()


def load(path):
    text = open(path, encoding="utf-8").read()
    Page(text)
    assert "http" not in re.sub(r"http://www\.w3\.org/(1999/xhtml|2000/svg)", "", text) and "url(http" not in text
    return text, tree.fromstring(text.removeprefix("<!DOCTYPE html>\n"))


def section(root, name):
    return next(s for s in root.iter(XHTML + "section") if s.get("id") == name)


def numbers(element):
    return [float(d.get("value")) for d in element.iter(XHTML + "data")]


def table_rows(element, index=0):
    """Rows by the text of their first cell: each cell's data, or its text."""
    out = []
    for row in list(element.iter(XHTML + "table"))[index].iter(XHTML + "tr"):
        cells = row.findall(XHTML + "td")
        if cells:
            out.append([numbers(c)[0] if numbers(c) else "".join(c.itertext()).strip() for c in cells])
    return out


def close(got, want):
    assert abs(got - want) <= 1e-6 * abs(want), (got, want)


def check(page, account, comparison=None):
    _, root = load(page)
    info = json.load(open(account))
    info = info.get("info", info)
    assert {"summary", "time", "errors", "arena", "graph"} == {s.get("id") for s in root.iter(XHTML + "section")}
    summary = numbers(section(root, "summary"))
    for key in ("parameters", "flops", "flops_as_given", "arena_bytes", "weights_bytes", "steps", "nodes_as_given"):
        assert info[key] in summary, (key, info[key], summary)

    rectangles = {(int(r.get("data-offset")), *map(int, r.get("data-live").split())): int(r.get("data-bytes"))
                  for r in section(root, "arena").iter(SVG + "rect")}
    assert rectangles
    for node in info["nodes"]:
        if node.get("memory") != "arena" or "live" not in node:
            continue
        holding = [o for (o, first, last), size in rectangles.items()
                   if o <= node["offset"] and node["offset"] + node["bytes"] <= o + size and [first, last] == node["live"]]
        assert holding, node
    for (offset, first, last), size in rectangles.items():
        assert offset + size <= info["arena_bytes"] and 0 <= first <= last < info["steps"]

    steps = {node["name"] for node in info["nodes"] if "step" in node}
    titles = [t.text for t in section(root, "graph").iter(SVG + "title")]
    assert titles and set(titles) <= steps and len(titles) == len(set(titles)), titles
    times = [int(t.get("data-times")) for t in section(root, "graph").iter(SVG + "text") if t.get("class") == "fold"]
    print("folds", times, "boxes", len(titles), "steps", len(steps))

    time = section(root, "time")
    if not list(time.iter(SVG + "svg")):
        assert any("--profile" in "".join(c.itertext()) for c in time.iter(XHTML + "code"))
    else:
        rows = [row for i in range(len(list(time.iter(XHTML + "table")))) for row in table_rows(time, i)]
        total = next(r for r in rows if r[0] == "total")
        close(total[4], sum(p["flops"] for p in info["phases"]))
        close(total[5], sum(p[k] for p in info["phases"] for k in ("read_bytes", "write_bytes", "shared_bytes")))
        close(sum(r[4] for r in rows if r[0] != "total"), total[4])
        assert len(list(list(time.iter(SVG + "svg"))[0].iter(SVG + "rect"))) == len(info["phases"])
        assert sum(r[2] for r in rows if r[0] != "total") <= 1.3 * total[2]
    if comparison is not None:
        nodes = [n for n in json.load(open(comparison))["nodes"] if "own_rms_error_over_std" in n]
        rows = table_rows(section(root, "errors"), 1)
        assert len(rows) == len(nodes)
        for row, node in zip(rows, nodes):
            wanted = [node[key] for key in ("max_error_over_std", "rms_error_over_std", "own_max_error_over_std", "own_rms_error_over_std")]
            for got, want in zip(row[3:7], wanted):
                close(got, want)
        assert len(list(section(root, "errors").iter(SVG + "circle"))) == 2 * len(nodes)


def hostile(source, out):
    text = open(source, encoding="utf-8").read()
    for name, bad in HOSTILE.items():
        assert f'"{name}"' in text, name
        text = text.replace(f'"{name}"', json.dumps(bad))
    open(out, "w", encoding="utf-8").write(text)


def names(page):
    text, root = load(page)
    assert "<script" not in text and "]]>" not in text
    found = "".join(section(root, "graph").itertext())
    assert all(name in found for name in HOSTILE.values()), found


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    if command == "small":
        load(arguments[0])
        assert len(open(arguments[0], "rb").read()) <= int(arguments[1])
    else:
        {"hostile": hostile, "check": check, "names": names}[command](*arguments)
