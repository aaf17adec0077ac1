"""Which ends of answers have been unacknowledged for too long."""

from chat_store.events.sweeper import UNACKNOWLEDGED_FOR, UnacknowledgedEnds


def test_an_end_is_overdue_when_it_has_been_out_for_a_while() -> None:
    ends = UnacknowledgedEnds()
    assert ends.overdue(5, 8, now=100.0) is None, "they may be being processed at this moment"
    assert ends.overdue(5, 9, now=100.0 + UNACKNOWLEDGED_FOR / 2) is None
    assert ends.overdue(5, 9, now=100.0 + UNACKNOWLEDGED_FOR) == (5, 8)
    assert ends.overdue(6, 9, now=100.1 + UNACKNOWLEDGED_FOR) == (6, 8), "what is acknowledged meanwhile is not"
    assert ends.overdue(6, 9, now=100.0 + 2 * UNACKNOWLEDGED_FOR) == (6, 9)


def test_an_end_that_was_carried_out_is_not_overdue_again() -> None:
    ends = UnacknowledgedEnds()
    ends.overdue(5, 8, now=100.0)
    assert ends.overdue(5, 8, now=200.0) == (5, 8)
    ends.done(8)
    assert ends.overdue(5, 8, now=201.0) is None, "though the server still waits for its acknowledgement"
    ends.overdue(5, 9, now=202.0)
    assert ends.overdue(5, 9, now=210.0) == (8, 9)
