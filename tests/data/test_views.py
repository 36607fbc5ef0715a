"""Views: squares of one photo, from the whole to its half."""

from __future__ import annotations

import numpy as np

from glia.data.views import views


def gradient(width: int = 90, height: int = 60) -> np.ndarray:
    """Red is the column, green the row."""
    return np.stack(np.broadcast_arrays(*np.ix_(range(height), range(width)), 7), -1)[..., [1, 0, 2]].astype(np.uint8)


def test_the_first_is_central_and_whole() -> None:
    photo = gradient()
    np.testing.assert_array_equal(next(views(photo, 5)), photo[:, 15:75])


def test_they_shrink_to_half_and_stay_inside() -> None:
    found = list(views(gradient(), 11))
    assert [view.shape[0] for view in found] == [60, 57, 54, 51, 48, 45, 42, 39, 36, 33, 30]
    assert all(view.shape == (view.shape[0], view.shape[0], 3) for view in found)


def test_every_second_one_is_mirrored() -> None:
    for index, view in enumerate(views(gradient(), 6)):
        steps = np.diff(view[0, :, 0].astype(int))
        assert set(steps) == ({-1} if index % 2 else {1})


def test_tall_photos_and_single_views() -> None:
    (only,) = views(gradient(20, 50), 1)
    assert only.shape == (20, 20, 3)
