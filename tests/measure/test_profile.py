from __future__ import annotations

from html.parser import HTMLParser

from tilewright.compiler.measure.ceiling import Ceiling
from tilewright.compiler.measure.page import html_page
from tilewright.compiler.measure.profile import Profile, judge
from tilewright.runtime import StepTime

CEILING = Ceiling(2, 100e9, ((1 << 15, 400e9), (1 << 27, 20e9)))
STEPS = [
    StepTime("reshape & copy", "k_copy", 0.001, 0.0, 0.0),
    StepTime("nn.conv2d <relu>", "k_conv", 0.006, 3e8, 1 << 15),
    StepTime("add", "k_add", 0.003, 1e3, float(1 << 15)),
]


def profile() -> Profile:
    return judge("net", 20, STEPS, CEILING)


def test_steps_come_heaviest_first_with_their_shares() -> None:
    result = profile()
    assert [step.index for step in result.steps] == [1, 2, 0]
    assert [round(step.share, 6) for step in result.steps] == [0.6, 0.3, 0.1]
    assert round(result.seconds, 9) == 0.01


def test_steps_are_judged_by_the_nearer_ceiling() -> None:
    conv, add, copy = profile().steps
    assert (conv.bound, round(conv.ceiling, 6)) == ("compute", 0.5)
    assert add.bound == "memory"
    assert round(add.ceiling, 9) == round((1 << 15) / 400e9 / 0.003, 9)
    assert (copy.bound, copy.ceiling) == ("", 0.0)


def test_steps_that_took_no_time_divide_by_nothing() -> None:
    result = judge("net", 1, [StepTime("add", "k", 0.0, 10.0, 10.0)], CEILING)
    assert (result.steps[0].share, result.steps[0].ceiling) == (0.0, 0.0)
    assert "add" in html_page(result)


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.links: list[str] = []
        self.widths: list[float] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag == "rect":
            self.widths.append(float(dict(attrs)["width"] or 0))
        if tag not in ("meta", "rect"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_whole_and_stands_alone() -> None:
    text = html_page(profile())
    page = Page()
    page.feed(text)
    assert page.open == []
    assert page.tags.count("tr") == 1 + len(STEPS)
    assert page.tags.count("svg") == len(STEPS)
    assert page.links == []
    assert "script" not in page.tags
    assert "http" not in text
    assert "nn.conv2d <relu>" in page.text
    assert "reshape & copy" in page.text
    assert page.text.index("nn.conv2d") < page.text.index("k_add") < page.text.index("k_copy")


def test_bars_are_as_long_as_the_steps_took() -> None:
    page = Page()
    page.feed(html_page(profile()))
    whole, reached = page.widths[::2], page.widths[1::2]
    assert whole == [240.0, 120.0, 40.0]
    assert reached[0] == 120.0
