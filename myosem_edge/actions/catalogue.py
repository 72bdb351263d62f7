"""Every action that can be named: four views of it in plain English, and what each data set calls it.

The file is `catalogue.toml` beside this module. Standard library only, so that anything may ask for a name.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import operator
import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any, SupportsIndex

from myosem_edge.errors import InputError

OWN = "own"  # the data set that was recorded here: it calls actions by their ids
VIEWS = ("name", "kinematics", "muscles", "function")
KINDS = ("rest", "movement", "grasp", "compound", "stage")

_ACTION_KEYS = ("kind", *VIEWS, "group", "antonym", "composed_of", "grip", "aliases")
_DATASET_KEYS = ("note", "unverified")
_TOP_KEYS = ("datasets", "groups", "grips", "actions")
_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]*")

Label = int | str


@dataclass(frozen=True)
class Action:
    """Something a hand does. `aliases` maps a data set to the labels it uses for this action."""

    id: str
    kind: str
    name: str
    kinematics: str
    muscles: str
    function: str
    group: str | None = None
    antonym: str | None = None
    composed_of: tuple[str, ...] = ()
    grip: str | None = None
    aliases: Mapping[str, tuple[Label, ...]] = field(default_factory=dict)

    @property
    def texts(self) -> tuple[str, ...]:
        """The four views in the order of `VIEWS`."""
        return (self.name, self.kinematics, self.muscles, self.function)


@dataclass(frozen=True)
class Dataset:
    """How a data set numbers its actions; `unverified` labels exist there, but nobody stated what they mean."""

    id: str
    note: str
    unverified: frozenset[Label] = frozenset()


@dataclass(frozen=True)
class Catalogue:
    """All actions in the order of the file, with the groups, grips and data sets they refer to."""

    actions: Mapping[str, Action]
    groups: Mapping[str, str]
    grips: Mapping[str, str]
    datasets: Mapping[str, Dataset]
    source: str

    @cached_property
    def ids(self) -> tuple[str, ...]:
        return tuple(self.actions)

    @cached_property
    def texts_sha256(self) -> str:
        """Hash of every id with its four views, in order; a description table made from other texts is stale."""
        listing = [[action.id, *action.texts] for action in self.actions.values()]
        return hashlib.sha256(json.dumps(listing, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()

    @cached_property
    def _by_label(self) -> Mapping[tuple[str, Label], str]:
        return {
            (dataset, _folded(label)): action.id
            for action in self.actions.values()
            for dataset, labels in action.aliases.items()
            for label in labels
        }

    def __len__(self) -> int:
        return len(self.actions)

    def __getitem__(self, action_id: str) -> Action:
        """The action of that id.

        Raises:
            InputError: no such action; names the nearest id that exists.
        """
        if action_id not in self.actions:
            raise InputError(
                f"there is no action '{action_id}'", where=self.source, todo=_suggestion(action_id, self.ids)
            )
        return self.actions[action_id]

    def resolve(self, dataset: str, label: SupportsIndex | str) -> str:
        """The id of the action that `dataset` calls `label` (any integer type, or text; digits count as an integer).

        A suffix of an EMG2Pose stage after an underscore, such as `_both`, is ignored.

        Raises:
            InputError: unknown data set, unknown label, or a label whose meaning is unverified.
        """
        if dataset == OWN and label in self.ids:
            return str(label)
        if dataset not in self.datasets:
            raise InputError(
                f"there is no data set '{dataset}'", where=self.source, todo=_suggestion(dataset, self.datasets)
            )
        key = _as_label(dataset, label)
        found = self._by_label.get((dataset, _folded(key)))
        if found is None and dataset == "emg2pose" and isinstance(key, str):
            found = self._by_label.get((dataset, _folded(key.partition("_")[0])))
        if found is not None:
            return found
        note = self.datasets[dataset].note
        if key in self.datasets[dataset].unverified:
            raise InputError(
                f"what data set {dataset} means by label {key!r} is unverified",
                where=self.source,
                todo=f"Treat it as an anonymous class. {note}",
            )
        todo = note
        if isinstance(key, str):
            labels = [alias for action in self.actions.values() for alias in action.aliases.get(dataset, ())]
            todo = _suggestion(key, [alias for alias in labels if isinstance(alias, str)])
        raise InputError(f"data set {dataset} has no label {key!r}", where=self.source, todo=todo)

    def neighbours(self, action_id: str) -> tuple[str, ...]:
        """Near-synonyms: the other ids of its semantic group, in catalogue order; empty without a group.

        Raises:
            InputError: no such action.
        """
        group = self[action_id].group
        if group is None:
            return ()
        return tuple(other.id for other in self.actions.values() if other.group == group and other.id != action_id)


def catalogue_path() -> Path:
    """Where the shipped catalogue lives."""
    return Path(str(resources.files("myosem_edge.actions") / "catalogue.toml"))


def load_catalogue(path: Path | str | None = None) -> Catalogue:
    """Read and check a catalogue; the shipped one without a path.

    Raises:
        InputError: the file cannot be read, or something in it is wrong; names file, table and key.
    """
    return _shipped() if path is None else _parse(Path(path))


@cache
def _shipped() -> Catalogue:
    return _parse(catalogue_path())


def _parse(path: Path) -> Catalogue:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"the catalogue cannot be read: {error.strerror}", where=path) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"the catalogue is not valid TOML: {error}", where=path) from error
    _check_keys(document, _TOP_KEYS, str(path), "")
    reader = _Reader(
        where=str(path),
        datasets=_read_datasets(_table(document, "datasets", str(path), ""), str(path)),
        groups=_read_sentences(document, "groups", str(path)),
        grips=_read_sentences(document, "grips", str(path)),
    )
    tables = _table(document, "actions", str(path), "")
    if not tables:
        raise InputError("the catalogue holds no action", where=path, todo="Add an [actions.<id>] table")
    actions = {
        action_id: reader.action(action_id, _table(tables, action_id, str(path), "actions.")) for action_id in tables
    }
    reader.check_references(actions)
    reader.check_texts(actions)
    reader.check_aliases(actions)
    return Catalogue(
        MappingProxyType(actions), reader.groups, reader.grips, MappingProxyType(reader.datasets), str(path)
    )


@dataclass(frozen=True)
class _Reader:
    """Turns tables into actions and checks them against each other; every complaint names file, table and key."""

    where: str
    datasets: Mapping[str, Dataset]
    groups: Mapping[str, str]
    grips: Mapping[str, str]

    def action(self, action_id: str, table: Mapping[str, Any]) -> Action:
        name = f"actions.{action_id}"
        place = f"{self.where}: [{name}]"
        if not _IDENTIFIER.fullmatch(action_id):
            raise InputError("this id is not in snake_case", where=place, todo="Use a-z, 0-9 and _, a letter first")
        _check_keys(table, _ACTION_KEYS, self.where, name)
        kind = _text(table, "kind", place)
        _check_known(kind, KINDS, f"{place} kind", "kind")
        views = {view: _text(table, view, place) for view in VIEWS}
        group, antonym, grip = (
            _text(table, key, place) if key in table else None for key in ("group", "antonym", "grip")
        )
        if group is not None:
            _check_known(group, self.groups, f"{place} group", "group")
        if grip is not None:
            _check_known(grip, self.grips, f"{place} grip", "grip")
        parts = table.get("composed_of", [])
        if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
            raise InputError("the parts must be a list of ids", where=f"{place} composed_of", found=repr(parts))
        if (kind == "compound") != (len(parts) >= 2):
            raise InputError(
                "a compound, and nothing else, has two parts or more",
                where=f"{place} composed_of",
                found=f"kind {kind} with {len(parts)} parts",
            )
        return Action(
            action_id,
            kind,
            **views,
            group=group,
            antonym=antonym,
            composed_of=tuple(parts),
            grip=grip,
            aliases=MappingProxyType(self._aliases(table, name)),
        )

    def _aliases(self, table: Mapping[str, Any], name: str) -> dict[str, tuple[Label, ...]]:
        aliases = _table(table, "aliases", self.where, f"{name}.")
        for dataset, labels in aliases.items():
            place = f"{self.where}: [{name}] aliases.{dataset}"
            _check_known(dataset, self.datasets, place, "data set")
            _check_labels(labels, place)
            for label in labels:
                if label in self.datasets[dataset].unverified:
                    raise InputError(
                        f"label {label!r} is listed as unverified in [datasets.{dataset}]",
                        where=place,
                        todo="Remove it from one of the two",
                    )
        return {dataset: tuple(labels) for dataset, labels in aliases.items()}

    def check_references(self, actions: Mapping[str, Action]) -> None:
        """Antonyms exist and point back; parts of a compound exist and are not compounds themselves."""
        for action in actions.values():
            place = f"{self.where}: [actions.{action.id}]"
            if action.antonym is not None:
                _check_known(action.antonym, actions, f"{place} antonym", "action")
            for part in action.composed_of:
                _check_known(part, actions, f"{place} composed_of", "action")
                if actions[part].composed_of:
                    raise InputError(f"the part '{part}' is a compound itself", where=f"{place} composed_of")
        for action in actions.values():
            if action.antonym is None:
                continue
            back = actions[action.antonym].antonym
            if back != action.id or back == action.antonym:
                raise InputError(
                    f"an antonym must be another action that points back, and '{action.antonym}' does not",
                    where=f"{self.where}: [actions.{action.id}] antonym",
                    found=f"antonym {back or 'none'} there",
                    expected=action.id,
                )

    def check_texts(self, actions: Mapping[str, Action]) -> None:
        """No two views of the catalogue may say the same: their vectors could not be told apart."""
        seen: dict[str, str] = {}
        for action in actions.values():
            for view, text in zip(VIEWS, action.texts, strict=True):
                here = f"[actions.{action.id}] {view}"
                first = seen.setdefault(" ".join(text.casefold().split()), here)
                if first != here:
                    raise InputError(f"this text is the same as {first}", where=f"{self.where}: {here}", found=text)

    def check_aliases(self, actions: Mapping[str, Action]) -> None:
        """One label of one data set means one action."""
        seen: dict[tuple[str, Label], str] = {}
        for action in actions.values():
            for dataset, labels in action.aliases.items():
                for label in labels:
                    key = (dataset, _folded(label))
                    if key in seen:
                        raise InputError(
                            f"label {label!r} of {dataset} is already an alias of '{seen[key]}'",
                            where=f"{self.where}: [actions.{action.id}] aliases.{dataset}",
                            todo="A label of a data set means one action",
                        )
                    seen[key] = action.id


def _read_datasets(tables: Mapping[str, Any], where: str) -> dict[str, Dataset]:
    datasets = {}
    for name in tables:
        table = _table(tables, name, where, "datasets.")
        _check_keys(table, _DATASET_KEYS, where, f"datasets.{name}")
        unverified = table.get("unverified", [])
        _check_labels(unverified, f"{where}: [datasets.{name}] unverified")
        datasets[name] = Dataset(name, _text(table, "note", f"{where}: [datasets.{name}]"), frozenset(unverified))
    return datasets


def _read_sentences(document: Mapping[str, Any], key: str, where: str) -> Mapping[str, str]:
    table = _table(document, key, where, "")
    return MappingProxyType({name: _text(table, name, f"{where}: [{key}]") for name in table})


def _table(parent: Mapping[str, Any], key: str, where: str, prefix: str) -> Mapping[str, Any]:
    value = parent.get(key, {})
    if not isinstance(value, dict):
        raise InputError("this must be a table", where=f"{where}: [{prefix}{key}]", found=repr(value))
    return value


def _text(table: Mapping[str, Any], key: str, place: str) -> str:
    if key not in table:
        raise InputError(f"'{key}' is missing", where=f"{place} {key}", todo=f'Add {key} = "..."')
    value = table[key]
    if not isinstance(value, str) or not value.strip():
        raise InputError("this must be a text that is not empty", where=f"{place} {key}", found=repr(value))
    return value


def _check_keys(table: Mapping[str, Any], known: Collection[str], where: str, name: str) -> None:
    place = f"{where}: [{name}]" if name else where
    for key in table:
        if key not in known:
            raise InputError("unknown key", where=f"{place} {key}", found=key, todo=_suggestion(key, known))


def _check_known(value: str, known: Collection[str], place: str, noun: str) -> None:
    if value not in known:
        raise InputError(f"there is no {noun} '{value}'", where=place, todo=_suggestion(value, known))


def _check_labels(labels: object, place: str) -> None:
    if not isinstance(labels, list) or any(isinstance(x, bool) or not isinstance(x, int | str) for x in labels):
        raise InputError("labels must be a list of integers or texts", where=place, found=repr(labels))


def _as_label(dataset: str, label: SupportsIndex | str) -> Label:
    if isinstance(label, str):
        text = label.strip()
        return int(text) if text.isdecimal() else text
    try:
        return operator.index(label)
    except TypeError as error:
        raise InputError(
            f"a label of data set {dataset} must be an integer or a text", found=f"{type(label).__name__} {label!r}"
        ) from error


def _folded(label: Label) -> Label:
    return label.casefold() if isinstance(label, str) else label


def _suggestion(value: str, known: Collection[str]) -> str:
    by_folded = {name.casefold(): name for name in known}
    if nearest := difflib.get_close_matches(value.casefold(), by_folded, n=1, cutoff=0.5):
        return f"Did you mean '{by_folded[nearest[0]]}'?"
    return f"Known: {', '.join(sorted(known))}" if len(known) <= 12 else "`myosem-edge actions list` shows what exists"
