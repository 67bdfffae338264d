"""Statistics of two whole peers, by W3C's names."""

import dataclasses

from trio_webrtc import open_peer_connection

from .conftest import World


def of_type(report, type_):
    return [record for record in report.values() if record.type == type_]


async def test_a_connected_peer_counts_what_has_passed(world: World, autojump_clock):
    async with world.meet() as (caller, callee, near, far):
        await near.send("x" * 1000)
        await far.receive()
        await near.drain()
        report = caller.get_stats()
        (channel,) = of_type(report, "data-channel")
        assert (channel.label, channel.state) == ("chat", "open")
        assert (channel.messages_sent, channel.bytes_sent) == (1, 1000)
        (received,) = of_type(callee.get_stats(), "data-channel")
        assert (received.messages_received, received.bytes_received, received.unread_messages) == (1, 1000, 0)
        (transport,) = of_type(report, "transport")
        assert transport.ice_role == "controlling"
        assert (transport.dtls_state, transport.tls_version) == ("connected", "DTLSv1.2")
        assert transport.packets_sent > 5
        assert transport.bytes_sent > 1000
        (sctp,) = of_type(report, "sctp-transport")
        assert sctp.state == "connected"
        assert 0.03 < sctp.smoothed_round_trip_time < 0.07
        assert sctp.una_data == 0
        pair = report[transport.selected_candidate_pair_id]
        assert pair.nominated
        assert 0.03 < pair.current_round_trip_time < 0.07
        assert report[pair.local_candidate_id].type == "local-candidate"
        assert report[pair.remote_candidate_id].candidate_type == "host"
        assert report[transport.remote_certificate_id].fingerprint in callee.local_description.sdp
        assert report[transport.local_certificate_id].fingerprint in caller.local_description.sdp
        (whole,) = of_type(report, "peer-connection")
        assert (whole.data_channels_opened, whole.data_channels_closed) == (1, 0)


async def test_every_record_stands_under_its_id_and_has_a_moment(world: World, autojump_clock):
    async with world.meet() as (caller, _, _, _):
        report = caller.get_stats()
        assert all(record.id == id_ for id_, record in report.items())
        assert all(dataclasses.is_dataclass(record) and record.timestamp > 0 for record in report.values())


async def test_there_are_statistics_before_there_is_a_connection_and_after_it(world: World, autojump_clock):
    async with open_peer_connection(network=world.left) as peer:
        peer.create_data_channel("not yet")
        assert {record.type for record in peer.get_stats().values()} == {
            "peer-connection",
            "transport",
            "certificate",
            "data-channel",
        }
    assert "T" in peer.get_stats()
