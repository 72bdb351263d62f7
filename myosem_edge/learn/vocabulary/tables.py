"""The measurement of the vocabulary as the tables that are committed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from myosem_edge.learn.scoring.metrics import over_people, paired
from myosem_edge.learn.vocabulary.measurement import CATALOGUE, Vocabulary
from myosem_edge.learn.vocabulary.sentences import AntonymPair, TextRetrieval
from myosem_edge.learn.vocabulary.signals import Confusion, Generalised, Retrieval

_METRICS = ("R@1", "R@5", "MRR", "R@1 of the group", "nearer than its antonym")


def to_markdown(v: Vocabulary) -> str:
    """Means with 95 % bootstrap intervals over people (over actions where there are no people), everyone listed where
    there are fewer than five.
    """
    held = f", fold {v.split.fold}" if v.split.kind in ("user", "class") else ""
    held += f", {v.split.held_dataset} held out" if v.split.held_dataset else ""
    lines = [f"### {v.split.family} model, {v.split.kind} split{held}, {len(v.actions)} actions trained on", ""]
    lines += ["**Paraphrase to description**, text alone, percent of the actions (five paraphrases each)", ""]
    for text in v.text:
        lines += _text(text)
    lines += ["**Where one sentence goes**, chosen on the catalogue's own views, each left out in turn", ""]
    rows = [[name, *(f"{m[k]:.1f}" for k in ("R@1", "R@5", "MRR"))] for name, m in v.placements.items()]
    lines += _table(("place", "R@1", "R@5", "MRR"), rows)
    lines += _antonyms(v.antonyms)
    rows = [[", ".join(g.actions), *(f"{x:.2f}" for x in (g.raw, g.centred, g.projected))] for g in v.groups]
    lines += ["**Near-synonyms**, mean cosine of two descriptions of a group", ""]
    lines += _table(("group", "raw", "centred", "projected"), rows)
    for r in v.retrieval:
        lines += _retrieval(r, "Retrieval")
    for c in v.confusion:
        lines += _confusion(c)
    for r in v.composition:
        lines += _retrieval(r, "Composition")
    if v.stacking is not None:
        s = v.stacking
        what = f"{s.constant:.2f}, chosen on {s.people} people who were trained on, with {', '.join(s.hidden)} hidden"
        lines += [f"Constant taken from the cosine of trained actions: {what}.", ""]
    for g in v.generalised:
        lines += _generalised(g)
    return "\n".join(lines)


def _text(t: TextRetrieval) -> list[str]:
    chance = f"chance R@1 {100 / t.size:.1f}, R@5 {100 * min(1.0, 5 / t.size):.1f}"
    lines = [f"Gallery: {t.gallery} ({t.size}), {t.queries} actions asked for, {chance}", ""]
    rows = [
        [method, *(_mean(metrics[name]) for name in _METRICS if metrics[name])] for method, metrics in t.values.items()
    ]
    header = [name for name in _METRICS if t.values["projected"][name]]
    lines += _table(("similarity", *header), rows)
    registers = [[r, f"{m['R@1']:.1f}", f"{m['R@5']:.1f}"] for r, m in t.registers.items()]
    return lines + _table(("register (projected)", "R@1", "R@5"), registers)


def _antonyms(pairs: Sequence[AntonymPair]) -> list[str]:
    rows = [
        [*(" / ".join(p.actions),), str(p.trained), *(f"{x:.2f}" for x in (p.raw, p.centred, p.projected))]
        for p in pairs
    ]
    groups = [("all", list(pairs)), ("both trained on", [p for p in pairs if p.trained == 2])]
    for name, chosen in groups:
        if chosen:
            means = (np.mean([getattr(p, kind) for p in chosen]) for kind in ("raw", "centred", "projected"))
            rows.append([f"mean, {name}", "", *(f"{mean:.2f}" for mean in means)])
    lines = ["**Antonyms**, cosine of the two descriptions", ""]
    return lines + _table(("pair", "trained on", "raw", "centred", "projected"), rows)


def _retrieval(r: Retrieval, title: str) -> list[str]:
    people = next(iter(next(iter(r.values.values())).values()))["hop"]["R@1"]
    what = f"gallery {len(r.gallery)}, chance R@1 {r.chance:.1f}, R@5 {100 * min(1.0, 5 / len(r.gallery)):.1f}"
    if set(r.judged) != set(r.gallery):
        what += f", judged on {len(r.judged)} of them ({', '.join(r.judged)})"
    lines = [f"**{title}, {r.dataset}**, {len(people)} people, {what}: {', '.join(r.gallery)}", ""]
    header = ("placement", "wording", "R@1 hop", "R@1 execution", "R@5 hop", "mAP text→EMG execution")
    more = ("R@1 text→EMG execution", "R@1 hop minus catalogue", "mAP execution minus catalogue")
    rows = []
    for placement, wordings in r.values.items():
        base = wordings[CATALOGUE]
        for wording, units in wordings.items():
            hop, execution = units["hop"], units["execution"]
            cells = [hop["R@1"], execution["R@1"], hop["R@5"], execution["text mAP"], execution["text R@1"]]
            differences = ["", ""]
            if wording != CATALOGUE:
                differences = [
                    str(paired(hop["R@1"], base["hop"]["R@1"])),
                    str(paired(execution["text mAP"], base["execution"]["text mAP"])),
                ]
            rows.append([placement, wording, *map(_mean, cells), *differences])
    return lines + _table((*header, *more), rows)


def _confusion(c: Confusion) -> list[str]:
    lines = [f"**Antonyms in the EMG, {c.dataset}**, gallery {len(c.gallery)}, percent of the hops of an action", ""]
    rows = [
        [placement, wording, *(_mean(shares[what]) for what in ("own", "antonym", "other"))]
        for placement, wordings in c.values.items()
        for wording, shares in wordings.items()
    ]
    lines += _table(("placement", "wording", "itself", "its antonym", "another"), rows)
    rows = [[action, f"{s['own']:.1f}", f"{s['antonym']:.1f}"] for action, s in c.pairs.items()]
    return lines + _table((f"action (as worn, {CATALOGUE})", "itself", "its antonym"), rows)


def _generalised(g: Generalised) -> list[str]:
    lines = [f"**Trained and untrained actions together, {g.dataset}**, R@1 per hop, percent", ""]
    lines += [
        f"{len(g.trained)} trained on: {', '.join(g.trained)}. {len(g.untrained)} not: {', '.join(g.untrained)}.",
        "",
    ]
    rows = [
        [placement, wording, step, *(_mean(values[what]) for what in ("trained", "untrained", "harmonic mean"))]
        for placement, wordings in g.values.items()
        for wording, steps in wordings.items()
        for step, values in steps.items()
    ]
    header = ("placement", "wording of the untrained", "constant", "trained", "untrained", "harmonic mean")
    return lines + _table(header, rows)


def _mean(people: Mapping[str, float]) -> str:
    """Mean and interval, or mean and everyone's value where there are too few for an interval."""
    shown = str(over_people(people))
    return shown if len(people) >= 5 else f"{shown} ({', '.join(f'{people[p]:.1f}' for p in sorted(people))})"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)] + [""]
