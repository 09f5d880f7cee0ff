"""Whatever order statuses come in, and however often, each is due once and in order."""

from hypothesis import given
from hypothesis import strategies as st
from order_client import Status
from order_client.progress import Progress
from order_client.wire import read

from tests.unit.client.engine import ORDER, status_of

LIFE = [read(Status, status_of(sequence)) for sequence in range(1, 6)]


@given(st.lists(st.sampled_from(LIFE), max_size=12), st.integers(0, 6))
def test_each_is_due_once_and_in_order(came: list[Status], floor: int) -> None:
    progress = Progress(ORDER, floor)

    due = [status for one in came for status in progress.take(one)]

    numbers = {status.sequence for status in came}
    seen = next(number for number in range(6) if number + 1 not in numbers)
    assert due == LIFE[min(floor, seen) : seen]
    assert (progress.seen, progress.ended) == (seen, seen == len(LIFE))
    assert progress.has_gap == (seen < max(numbers, default=0))
