import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from boxwright.ranking import highest


@settings(deadline=None, max_examples=60)
@given(
    rows=st.integers(0, 9).flatmap(
        lambda n: st.lists(
            st.lists(
                st.tuples(st.sampled_from([-1.0, 0.0, 0.5, 2.0]) | st.floats(-3, 3, width=32), st.booleans()),
                min_size=n,
                max_size=n,
            ),
            min_size=1,
            max_size=4,
        )
    ),
    counts=st.lists(st.integers(0, 12), min_size=4, max_size=4),
)
def test_equals_a_stable_sort(rows, counts):
    values = torch.tensor([[value for value, _ in row] for row in rows]).reshape(len(rows), -1)
    eligible = torch.tensor([[able for _, able in row] for row in rows], dtype=torch.bool).reshape(len(rows), -1)
    count = torch.tensor(counts[: len(rows)]).unsqueeze(1)
    mask = highest(values, eligible, count)
    for row, picked, wanted in zip(rows, mask.tolist(), counts, strict=False):
        able = [place for place, (_, is_able) in enumerate(row) if is_able]
        expected = sorted(able, key=lambda place: -row[place][0])[:wanted]
        assert {place for place, taken in enumerate(picked) if taken} == set(expected)


def test_one_count_for_all_rows():
    values = torch.tensor([[1.0, 3.0, 2.0], [5.0, 5.0, 5.0]])
    every = torch.ones(2, 3, dtype=torch.bool)
    assert highest(values, every, 2).tolist() == [[False, True, True], [True, True, False]]
    assert not highest(values, every, 0).any()
