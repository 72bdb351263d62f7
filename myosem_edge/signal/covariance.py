"""The logarithm of the channels' covariance over a window: how electrodes work together, not only how much each does.

A covariance matrix lives on a curved space; its matrix logarithm is flat, and there a linear discriminant is at home
(log-Euclidean metric: Arsigny et al. 2006; for EMG: Xiong et al. 2021). It is the strongest plain baseline known here,
and one of the features of a calibrated head. From per-frame sums, so that a hop costs only its new samples.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from myosem_edge.signal.features import WINDOW_FRAMES, sums_of_last

FLOOR = 1e-4  # of the wearer's mean power, added to every channel: a dead channel keeps a finite logarithm
MOST_CHANNELS = 16  # beyond, the matrix has more entries than a short calibration can fill: no such feature then


def start_products(channels: int) -> np.ndarray:
    """Products (WINDOW_FRAMES, channels, channels) of a stream that has seen nothing."""
    used = channels if channels <= MOST_CHANNELS else 0
    return np.zeros((WINDOW_FRAMES, used, used))


def step_log_covariance(frames: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """New frames (k, samples, channels) and the products of the last frames -> features (k, c (c + 1) / 2), next state.

    Off-diagonal entries weigh the square root of two, so that the distance of two features is that of two matrices.
    """
    samples, used = frames.shape[1], state.shape[1]
    if not used:
        return np.zeros((len(frames), 0)), state
    floor, places, weight = _triangle(used)
    products = np.concatenate((state[1:], np.einsum("ksc,ksd->kcd", frames, frames)))
    power, axes = np.linalg.eigh(sums_of_last(products, len(frames)) / (WINDOW_FRAMES * samples) + floor)
    logarithm = (axes * np.log(np.maximum(power, 0.5 * FLOOR))[:, None, :]) @ axes.transpose(0, 2, 1)
    return logarithm.reshape(len(frames), -1)[:, places] * weight, products[-WINDOW_FRAMES:]


@cache
def _triangle(channels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What is added to every matrix, the places of a matrix's upper triangle in its flat form, and their weights."""
    rows, columns = np.triu_indices(channels)
    weight = np.where(rows == columns, 1.0, np.sqrt(2.0))
    return FLOOR * np.eye(channels), rows * channels + columns, weight


def log_covariance(frames: np.ndarray) -> np.ndarray:
    """Features (k, c (c + 1) / 2) at every frame of a recording (k, samples, channels), from a cold start."""
    return step_log_covariance(frames, start_products(frames.shape[2]))[0]


def symmetric_exponential(features: np.ndarray, channels: int) -> np.ndarray:
    """The way back: features (n, c (c + 1) / 2) -> covariances (n, c, c), each with its floor."""
    _, places, weight = _triangle(channels)
    flat = np.zeros((len(features), channels * channels))
    flat[:, places] = features / weight
    logarithm = flat.reshape(-1, channels, channels)
    logarithm += np.triu(logarithm, 1).transpose(0, 2, 1)
    power, axes = np.linalg.eigh(logarithm)
    return np.asarray((axes * np.exp(power)[:, None, :]) @ axes.transpose(0, 2, 1))
