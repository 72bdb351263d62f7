"""LibEMG's Hudgins features and its LDA as a child of the benchmark, by its public API, in an environment of its own.

`build/peers-libemg/bin/python benchmarks/libemg_child.py`, with this repository on PYTHONPATH. A decision is what its
own online classifier computes for a window: the features, the posteriors, the largest. Filtering is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np

from myosem_edge.bench.service import NO_LABEL, answers_only, serve

if __name__ == "__main__":
    ANSWERS = answers_only()  # before the import: what LibEMG imports greets on standard output

from libemg.emg_predictor import EMGClassifier
from libemg.feature_extractor import FeatureExtractor
from libemg.utils import get_windows

FEATURES = ["MAV", "ZC", "SSC", "WL"]  # Hudgins, Parker, Scott 1993; LibEMG's group HTD


class LibEmg:
    def load(self, emg: list[list[int]], labels: list[int], frame: int, window: int) -> Mapping[str, Any]:
        samples, marks = np.array(emg, np.float64), np.array(labels)
        self.extractor = FeatureExtractor()
        shown, actions = [], []
        for action in sorted(set(labels) - {NO_LABEL}):
            places = np.flatnonzero(marks == action)
            for part in np.split(places, np.flatnonzero(np.diff(places) != 1) + 1):
                if len(part) >= window:
                    windows = get_windows(samples[part], window, frame)
                    shown.append(windows)
                    actions += [action] * len(windows)
        features = self.extractor.extract_features(FEATURES, np.concatenate(shown))
        self.classifier = EMGClassifier("LDA")
        self.classifier.fit({"training_features": features, "training_labels": np.array(actions)})
        line = np.concatenate((samples[-window:], samples))
        hops = len(samples) // frame
        self.windows = [line[(i + 1) * frame : (i + 1) * frame + window] for i in range(hops)]
        return {"frames": hops, "version": version("libemg"), "numpy": np.__version__}

    def decide(self, frame: int) -> int:
        window = self.windows[frame % len(self.windows)].T[None]
        predictions, _ = self.classifier.run(self.extractor.extract_features(FEATURES, window))
        return int(predictions[0])


if __name__ == "__main__":
    serve(LibEmg(), ANSWERS)
