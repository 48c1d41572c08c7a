"""What an epoch shows: everything once or more, the same batches whatever the processes, and from any batch on."""

from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxwright.data import DetectionDataset
from boxwright.data.sampling import EpochPlaces, Showing, ValidationPlaces, decode, encode, repeat_factor


@given(st.integers(0, 10**6), st.integers(0, 4000), st.integers(0, 499))
def test_keys_tell_showings(epoch: int, copy: int, place: int) -> None:
    assert decode(encode(Showing(epoch, copy, place), 500), 500) == Showing(epoch, copy, place)


def showings(places: EpochPlaces, epoch: int) -> list[Showing]:
    places.set_epoch(epoch)
    return [decode(key, places.length) for key in places]


def test_every_epoch_shows_every_image_once_in_a_new_order() -> None:
    places = EpochPlaces(50, 3, batch_size=10)
    first, second = showings(places, 0), showings(places, 1)
    assert sorted(first) == [Showing(0, 0, place) for place in range(50)]
    assert sorted(second) == [Showing(1, 0, place) for place in range(50)]
    assert [s.place for s in first] != [s.place for s in second]
    assert showings(EpochPlaces(50, 3, batch_size=10), 1) == second
    assert showings(EpochPlaces(50, 4, batch_size=10), 1) != second


@given(st.integers(1, 40), st.sampled_from([1, 2, 4]), st.integers(1, 3), st.booleans())
def test_the_batches_are_the_same_whatever_the_number_of_processes(
    length: int, world: int, share: int, uneven: bool
) -> None:
    size = world * share
    repeats = np.linspace(1, 3, length) if uneven else None
    one = EpochPlaces(length, 0, batch_size=size, repeats=repeats)
    ranks = [EpochPlaces(length, 0, batch_size=size, rank=r, world=world, repeats=repeats) for r in range(world)]
    whole, parts = showings(one, 2), [showings(rank, 2) for rank in ranks]
    assert len({len(part) for part in parts}) == 1
    for places, part in zip([one, *ranks], [whole, *parts], strict=True):
        assert len(places) == len(part)
    together = [s for start in range(0, len(parts[0]), share) for part in parts for s in part[start : start + share]]
    if len(whole) >= size:
        assert len(whole) % size == 0
        assert together == whole
    else:  # less than a batch: nothing is left out
        assert set(together) == set(whole)


def test_a_resumed_epoch_goes_on_after_its_batches() -> None:
    whole = EpochPlaces(23, 1, batch_size=4)
    resumed = EpochPlaces(23, 1, batch_size=4)
    resumed.resume_at(5, 3)
    assert len(resumed) == len(whole) == 20
    assert [decode(key, 23) for key in resumed] == showings(whole, 5)[12:]
    assert showings(resumed, 6) == showings(whole, 6)
    halves = [EpochPlaces(23, 1, batch_size=4, rank=rank, world=2) for rank in range(2)]
    halves[1].resume_at(5, 3)
    assert showings(halves[1], 5) == [s for i, s in enumerate(showings(whole, 5)[12:]) if i % 4 >= 2]


def test_repeats_come_out_on_average_and_each_time_anew() -> None:
    repeats = np.array([1.0, 1.5, 2.25, 3.0, 1.25])
    places = EpochPlaces(5, 0, batch_size=1, repeats=repeats)
    counts = np.zeros(5)
    for epoch in range(400):
        shown = showings(places, epoch)
        assert len(shown) == len(places) == 9
        assert len(set(shown)) == 9  # a second showing is another one
        now = np.bincount([s.place for s in shown], minlength=5)
        assert (now >= np.floor(repeats)).all()
        assert (now <= np.ceil(repeats)).all()
        counts += now
    np.testing.assert_allclose(counts / 400, repeats, atol=0.08)


def test_validation_is_shared_out_evenly() -> None:
    assert [list(ValidationPlaces(5, rank, 2)) for rank in range(2)] == [[0, 2, 4], [1, 3, 0]]
    assert list(ValidationPlaces(3)) == [0, 1, 2]
    assert [len(ValidationPlaces(1, rank, 3)) for rank in range(3)] == [1, 1, 1]
    assert len(ValidationPlaces(0)) == 0


class FourImages:
    """Class 0 in all images, class 1 in one, class 2 in none; two boxes of a class in the last image count once."""

    offsets = np.array([0, 1, 3, 4, 6])
    labels = np.array([0, 0, 1, 0, 0, 0])
    classes = ("a", "b", "c")

    def __len__(self) -> int:
        return 4


def test_repeat_factors_follow_the_rarest_class() -> None:
    dataset = cast(DetectionDataset, FourImages())
    np.testing.assert_allclose(repeat_factor(dataset, 0.5), [1, np.sqrt(0.5 / 0.25), 1, 1])
    np.testing.assert_allclose(repeat_factor(dataset, 0.2), 1)
    with pytest.raises(ValueError, match=r"0\.\.1"):
        repeat_factor(dataset, 2.0)


@pytest.mark.parametrize("options", [{"batch_size": 3, "world": 2}, {"batch_size": 1, "repeats": np.array([1.0, 0.5])}])
def test_wrong_values(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="Expected"):
        EpochPlaces(2, 0, **options)  # type: ignore[arg-type]
