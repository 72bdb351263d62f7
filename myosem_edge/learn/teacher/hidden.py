"""Actions whose labels training is not shown, so that something can be chosen on actions that a model has never met."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from myosem_edge.actions.catalogue import Catalogue
from myosem_edge.learn.corpus.sessions import NO_ACTION, Session


def hide_actions(sessions: Sequence[Session], names: str, catalogue: Catalogue) -> list[Session]:
    """The sessions without the labels of these actions (ids with commas between them); the EMG stays as it is.

    Raises:
        InputError: the catalogue has no such action.
    """
    hidden = [catalogue.ids.index(catalogue[name].id) for part in names.split(",") if (name := part.strip())]
    kept = []
    for session in sessions:
        clips = []
        for clip in session.clips:
            gone = np.isin(clip.action, hidden)
            action, execution = (np.where(gone, NO_ACTION, values) for values in (clip.action, clip.execution))
            early = np.where(np.isin(clip.early, hidden), NO_ACTION, clip.early)
            clips.append(replace(clip, action=action, execution=execution, early=early))
        kept.append(replace(session, clips=clips))
    return kept
