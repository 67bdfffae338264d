from trio_webrtc.core.stun import Retransmission, Transaction


def times_of(schedule):
    transaction = Transaction(b"request", schedule=schedule, now=100.0)
    times = []
    while True:
        now = transaction.due
        if transaction.poll_request(now) is None:
            return times, now - 100
        times.append(now - 100)


def test_requests_are_repeated_at_the_times_that_the_rfc_gives_as_its_example():
    # RFC 8489 §6.2.1, with an RTO of 500 ms.
    assert times_of(Retransmission()) == ([0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5], 39.5)


def test_intervals_may_stop_growing():
    schedule = Retransmission(timeout=0.5, longest=1.0, requests=5, last_wait=4)
    assert times_of(schedule) == ([0, 0.5, 1.5, 2.5, 3.5], 5.5)


def test_nothing_is_sent_early_or_twice():
    transaction = Transaction(b"request", schedule=Retransmission(), now=0.0)
    assert transaction.poll_request(0.0) == b"request"
    assert transaction.poll_request(0.0) is None
    assert transaction.poll_request(0.499) is None
    assert not transaction.expired
    assert transaction.poll_request(0.5) == b"request"


def test_a_transaction_called_late_still_gives_each_request_its_time():
    transaction = Transaction(b"request", schedule=Retransmission(requests=2, last_wait=2), now=0.0)
    transaction.poll_request(0.0)
    assert transaction.poll_request(50.0) == b"request"
    assert transaction.due == 51.0
    assert transaction.poll_request(51.0) is None
    assert transaction.expired


def test_a_round_trip_is_measured_only_if_it_is_known_which_request_was_answered():
    transaction = Transaction(b"request", schedule=Retransmission(), now=0.0)
    transaction.poll_request(0.0)
    assert transaction.round_trip_time(0.25) == 0.25
    transaction.poll_request(0.5)
    assert transaction.round_trip_time(0.6) is None
