"""A meeting with usrsctp is as reproducible as one of two cores, or its seeds would be worth nothing."""


def told_by(meeting) -> list[tuple[float, int, int]]:
    """When packets of what size arrived at which side of a busy meeting."""
    seen = []

    def watch(side, receive):
        def receive_and_note(batch, now):
            seen.extend((now, side, len(packet)) for packet in batch)
            receive(batch, now)

        return receive_and_note

    for side, end in enumerate((meeting.left, meeting.right)):
        object.__setattr__(end, "receive", watch(side, end.receive))
    meeting.connect(from_="both")
    for number in range(50):
        meeting.ours.send(1, 51, bytes(1000 * number + 1), now=meeting.now)
        assert meeting.theirs.send(1, bytes(1000 * number + 1))
        meeting.pass_time(0.1, loss=0.1, jitter=0.02)
    return seen


def test_a_seed_fixes_what_happens(meet):
    first = told_by(meet(seed=7))
    assert len(first) > 500
    assert told_by(meet(seed=7)) == first
    assert told_by(meet(seed=8)) != first
