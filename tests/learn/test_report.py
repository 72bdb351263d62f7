"""A report is one file that opens without a network and says what its Markdown says; every picture can be drawn."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the [train] extra is not installed")
pytest.importorskip("torch", reason="the [train] extra is not installed")

from matplotlib.image import imread

from myosem_edge.learn.corpus.splits import Split
from myosem_edge.learn.report import figures
from myosem_edge.learn.report.document import Heading, Picture, Table, Text, html, markdown
from myosem_edge.learn.report.pages import evaluation_blocks, to_html, to_markdown
from myosem_edge.learn.scoring.evaluate import AS_WORN, PLACEMENTS, RETRIEVERS, SHOWN, UNSEEN_ALONE
from myosem_edge.learn.scoring.evaluation import Evaluation, Retrieval
from myosem_edge.learn.scoring.fewshot import BUDGETS, HEADS
from myosem_edge.learn.scoring.landscape import Landscape
from myosem_edge.learn.scoring.metrics import Interval
from myosem_edge.learn.scoring.pooling import pooled

NAMES = ("rest", "wrist_flexion", "fist")
METRICS = ("R@1", "R@5", "MRR", "text R@1", "text R@5", "text MRR", "text mAP")


def scores(people: list[str], seed: int) -> dict[str, float]:
    rng = np.random.default_rng(seed)
    return {f"made_up/{person}": float(rng.uniform(20, 95)) for person in people}


def retrieval(people: list[str], question: str = SHOWN, retrievers: tuple[str, ...] = RETRIEVERS) -> Retrieval:
    values = {
        placement: {
            name: {unit: {m: scores(people, i) for m in METRICS} for unit in ("window", "execution")}
            for i, name in enumerate(retrievers)
        }
        for placement in PLACEMENTS
    }
    confusion = {placement: [[80.0, 15.0, 5.0], [0.2, 99.8, 0.0], [33.3, 33.3, 33.4]] for placement in PLACEMENTS}
    return Retrieval(
        "made_up", question, NAMES, tuple(f"made_up/{p}" for p in people), NAMES, values=values, confusion=confusion
    )


def evaluation(people: list[str], fold: int = 0) -> Evaluation:
    return Evaluation(
        Split("research", "user", fold),
        9,
        [retrieval(people)],
        {"made_up": {b: {u: {h: scores(people, 1) for h in HEADS} for u in ("window", "execution")} for b in BUDGETS}},
        temperature=0.07,
        reliability={"made_up": {name: [(0.4, 0.35, 0.3), (0.9, 0.8, 0.7)] for name in PLACEMENTS}},
        landscape={
            "made_up": Landscape(
                [(0.1, 0.2), (-0.3, 0.4), (0.0, -0.5)],
                list(NAMES),
                {name: (0.1 * i, 0.2) for i, name in enumerate(NAMES)},
                (0.5, 0.2),
            )
        },
    )


class Page(HTMLParser):
    """What a browser would meet: tags with their attributes, and the cells of every table."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[str] = []
        self._open = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open = tag in ("td", "th")
        if self._open:
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        if self._open:
            self.cells[-1] += data

    def handle_endtag(self, tag: str) -> None:
        self._open = False


def test_nothing_is_fetched_and_nothing_is_run() -> None:
    page = Page(to_html(evaluation(["a", "b"])))
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "link", "iframe", "object", "embed", "form"}
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes), tag
        for name in ("src", "href"):
            assert (attributes.get(name) or "data:image/png;base64,").startswith("data:image/png;base64,")
    style = re.search(r"<style>(.*?)</style>", to_html(evaluation(["a"])), re.DOTALL)
    assert style is not None and "url(" not in style[1] and "@import" not in style[1]


def test_every_picture_has_words_and_can_be_read() -> None:
    images = [attributes for tag, attributes in Page(to_html(evaluation(["a", "b"]))).tags if tag == "img"]
    assert len(images) == 3 + 1 + 1 + 1 + 1  # matrices, bars, budgets, map, reliability
    for each in images:
        assert each["alt"]
        pixels = imread(io.BytesIO(base64.b64decode((each["src"] or "").partition(",")[2])))
        assert pixels[..., :3].std() > 0.01 and int(each["width"] or 0) * 2 == pytest.approx(pixels.shape[1], abs=2)


@pytest.mark.parametrize("people", [["a"], list("abcdefgh")])
def test_the_html_says_what_the_markdown_says(people: list[str]) -> None:
    found = evaluation(people)
    text, page = to_markdown(found), Page(to_html(found))
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert [cell for row in rows for cell in row[2:-2].split(" | ")] == page.cells
    assert "nan" not in text.lower()


def test_what_comes_from_data_is_never_markup() -> None:
    text = '<img src=x onerror=alert(1)> & "quoted"'
    blocks = [Heading(text), Text(text, lead=text), Table([text], [[text]])]
    blocks.append(Picture(lambda: (b"png", 10), text, text))
    page = Page(html(text, blocks))
    assert page.cells == [text, text]
    assert [attributes.get("alt") for tag, attributes in page.tags if tag == "img"] == [text]


def test_markdown_leaves_pictures_out_and_keeps_tables_apart() -> None:
    def never() -> tuple[bytes, int]:
        raise AssertionError("drawn")

    text = markdown([Heading("a", 1), Table(["x"], [["1"]]), Picture(never, "b", "c"), Text("loud", warning=True)])
    assert text == "# a\n\n| x |\n|---|\n| 1 |\n\n**loud**\n"


def test_folds_are_shown_together() -> None:
    folds = [evaluation(["a", "b"]), evaluation(["c"], 1)]
    (found,) = pooled(folds)
    assert found.retrieval.people == ("made_up/a", "made_up/b", "made_up/c")
    assert found.confusion is not None
    weighed = np.average([f.retrieval[0].confusion[AS_WORN] for f in folds], axis=0, weights=[2, 1])
    assert np.allclose(found.confusion[AS_WORN], weighed, atol=0.01)
    text = markdown(evaluation_blocks(folds))
    assert "3 people, gallery 3" in text and "Fold 0: expected" in text and "Fold 1: expected" in text


def test_folds_with_other_galleries_share_no_matrix() -> None:
    other = evaluation(["c"], 1)
    other.retrieval = [replace(other.retrieval[0], gallery=(*NAMES[:2], "hand_open"))]
    (found,) = pooled([evaluation(["a"]), other])
    assert found.confusion is None
    assert html("x", evaluation_blocks([evaluation(["a"]), other])).count("data:image/png") == 4


def test_a_baseline_that_cannot_name_an_action_is_said_to() -> None:
    found = evaluation(["a", "b"])
    found.retrieval = [retrieval(["a", "b"], UNSEEN_ALONE, RETRIEVERS[:1])]
    found.few_shot = {}
    assert to_markdown(found).count("| cannot |") >= 1
    assert "data:image/png" in to_html(found)


NOWHERE = float("nan")


@pytest.mark.parametrize(
    "draw",
    [
        lambda: figures.confusion("t", NAMES[:1], NAMES, [[10.0, 20.0, 70.0]]),
        lambda: figures.confusion("t", [f"action_{i}" for i in range(50)], ["a"] * 50, np.eye(50) * 100),
        lambda: figures.landscape("t", Landscape([(0.0, 0.0)], ["a"], {"a": (0.0, 0.0)}, (1.0, 0.0))),
        lambda: figures.landscape(
            "t", Landscape([(0.0, 1.0)], ["a3"], {f"a{i}": (i / 50, 0.1) for i in range(50)}, (0.4, 0.2))
        ),
        lambda: figures.bars("t", "u", {"d/a": 50.0}, {}, ("ours", "peer")),
        lambda: figures.bars("t", "u", *[{f"d/{i}": float(i) for i in range(40)}] * 2, ("ours", "peer")),
        lambda: figures.reliability("t", {"as worn": [(0.5, 0.5, 1.0)]}),
        lambda: figures.budgets("t", {"1 s": {"h": {"a": 50.0}}}, ["h"]),
        lambda: figures.differences("t", "u", [("a", Interval(1.0, NOWHERE, NOWHERE, 2))]),
        lambda: figures.differences("t", "u", [("a", Interval(1.0, 0.5, 2.0, 9)), ("b", Interval(-1, -2, 1, 9))]),
    ],
)
@pytest.mark.filterwarnings("error:.*(constrained_layout|Mean of empty|invalid value).*")
def test_a_picture_of_little_and_of_much(draw: object) -> None:
    png, width = draw()  # type: ignore[operator]
    pixels = imread(io.BytesIO(png))
    assert pixels.shape[1] == pytest.approx(width, abs=1) and pixels[..., :3].std() > 0.01


def test_a_picture_is_the_same_every_time() -> None:
    rows = [("a", Interval(1.0, 0.5, 2.0, 9))]
    assert figures.differences("t", "u", rows) == figures.differences("t", "u", rows)
