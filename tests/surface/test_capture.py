"""What a connection writes down for whoever looks for a fault."""

import shutil
import subprocess

import pytest

from trio_webrtc import Configuration, open_peer_connection

from .conftest import World


async def test_wireshark_reads_the_decrypted_packets(world: World, autojump_clock, tmp_path, require):
    tshark = require(shutil.which("tshark"), "tshark is not installed")
    async with world.meet(Configuration(capture_folder=tmp_path)) as (_, _, near, far):
        await near.send("find me")
        await far.receive()
        await far.send("found")
        await near.receive()
    (packets,) = tmp_path.glob("*.pcapng")
    fields = ["-T", "fields", "-e", "sctp.chunk_type", "-e", "frame.packet_flags_direction", "-e", "frame.time_epoch"]
    run = subprocess.run([tshark, "-r", packets, *fields], capture_output=True, text=True, check=True)
    lines = [line.split("\t") for line in run.stdout.splitlines()]
    seen = {(chunk, int(direction, 0)) for chunks, direction, _ in lines for chunk in chunks.split(",")}
    init, data, shutdown = "1", "0", "7"
    assert {(init, 2), (data, 2), (data, 1), (shutdown, 2)} <= seen
    payload = [tshark, "-r", packets, "-Y", "sctp.data_payload_proto_id == 51", "-T", "fields", "-e", "data.data"]
    shown = subprocess.run(payload, capture_output=True, text=True, check=True).stdout
    assert b"find me".hex() in shown


async def test_the_keys_are_an_nss_key_log(world: World, autojump_clock, tmp_path):
    async with world.meet(Configuration(capture_folder=tmp_path), Configuration(capture_folder=tmp_path)):
        pass
    ours, theirs = (path.read_text() for path in sorted(tmp_path.glob("*.keys")))
    assert ours == theirs
    label, client_random, secret = ours.split()
    assert label == "CLIENT_RANDOM"
    assert (len(client_random), len(secret)) == (64, 96)


async def test_a_folder_that_is_not_there_is_an_error_at_once(world: World, tmp_path):
    with pytest.raises(FileNotFoundError):
        async with open_peer_connection(Configuration(capture_folder=tmp_path / "none"), network=world.left):
            pass
