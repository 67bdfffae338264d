"""The JSON of signalling: what browsers make comes in, what comes out they take, and junk is told from both."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_webrtc import IceCandidate, PeerError, SessionDescription, UsageError
from trio_webrtc.shell.reporting import MAX_EXCERPT
from trio_webrtc.signaling import MAX_MESSAGE_SIZE, Bye, InvalidMessageError, decode_message, encode_message
from trio_webrtc.signaling.messages import bye_because_of

text = st.text(st.characters(exclude_categories=["Cs"]))
descriptions = st.builds(SessionDescription, st.sampled_from(["offer", "answer", "pranswer", "rollback"]), text)
candidates = st.builds(IceCandidate, text, st.none() | text, st.none() | st.integers(0, 65535), st.none() | text)
messages = descriptions | candidates | st.builds(Bye, text)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["type", "sdp", "candidate"]), inner),
)


@given(messages)
def test_a_message_comes_through_as_it_was(message):
    assert decode_message(encode_message(message)) == message


@given(st.text() | json_values.map(json.dumps))
def test_junk_raises_one_error_and_no_other(junk):
    with suppress(InvalidMessageError):
        message = decode_message(junk)
        assert decode_message(encode_message(message)) == message


CANDIDATE = "candidate:1 1 udp 2113937151 192.0.2.1 54400 typ host generation 0 ufrag EsAw"


@pytest.mark.parametrize(
    ("made_by_a_browser", "message"),
    [
        ('{"type":"offer","sdp":"v=0\\r\\n"}', SessionDescription("offer", "v=0\r\n")),
        ('{"sdp":"v=0\\r\\n","type":"answer"}', SessionDescription("answer", "v=0\r\n")),
        ('{"type":"rollback","sdp":""}', SessionDescription("rollback")),
        (
            f'{{"candidate":{{"candidate":"{CANDIDATE}","sdpMid":"0","sdpMLineIndex":0,"usernameFragment":"EsAw"}}}}',
            IceCandidate(CANDIDATE, "0", 0, "EsAw"),
        ),
        (
            '{"candidate":{"candidate":"","sdpMid":"0","sdpMLineIndex":0,"usernameFragment":"EsAw"}}',
            IceCandidate("", "0", 0, "EsAw"),
        ),
        ('{"candidate":null}', IceCandidate("")),
        ('{"bye":"enough"}', Bye("enough")),
        ('{"type":"offer","sdp":"v=0\\r\\n","room":"of the application"}', SessionDescription("offer", "v=0\r\n")),
    ],
)
def test_what_browsers_stringify_is_understood(made_by_a_browser, message):
    assert decode_message(made_by_a_browser) == message


@pytest.mark.parametrize(
    ("junk", "close_code", "explanation"),
    [
        ("", 1007, "JSON"),
        ("v=0", 1007, "JSON"),
        ('{"bye":NaN}', 1007, "NaN is no JSON"),
        ('{"bye":"\\ud800"}', 1007, "surrogates"),
        ("[" * 100_000, 1007, "depth"),
        ("9" * 5_000, 1007, "JSON"),
        ("null", 1008, "object"),
        ("[]", 1008, "object"),
        ("{}", 1008, "one of the members"),
        ('{"type":"offer","sdp":"","bye":""}', 1008, "one of the members"),
        ('{"type":"offer"}', 1008, "'sdp'"),
        ('{"type":"hello","sdp":""}', 1008, "'hello'"),
        ('{"type":["offer"],"sdp":""}', 1008, "'type'"),
        ('{"candidate":"candidate:1"}', 1008, "object"),
        ('{"candidate":{"candidate":"","sdpMLineIndex":-1}}', 1008, "sdpMLineIndex"),
        ('{"bye":1}', 1008, "'bye'"),
        (f'{{"bye":"{"x" * MAX_MESSAGE_SIZE}"}}', 1009, "at most"),
        (f'{{"bye":"{"ψ" * (MAX_MESSAGE_SIZE // 2)}"}}', 1009, "at most"),
    ],
)
def test_what_is_no_message_is_told_with_a_close_code_and_why(junk, close_code, explanation):
    with pytest.raises(InvalidMessageError, match=explanation) as caught:
        decode_message(junk)
    assert caught.value.close_code == close_code
    assert isinstance(caught.value, PeerError)


@pytest.mark.parametrize("wrong", ["\\" * 120_000, "\n" * 120_000, "\0" * 40_000, "ψ" * 120_000])
def test_what_is_quoted_of_what_is_no_message_grows_no_goodbye_out_of_bounds(wrong):
    with pytest.raises(InvalidMessageError) as caught:
        decode_message(json.dumps({"type": wrong}, ensure_ascii=False))
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("text", ["\\" * MAX_MESSAGE_SIZE, "\ud800", "a\nb", "\U000e0001" * 1000])
def test_a_goodbye_because_of_any_error_can_be_sent(text):
    bye = bye_because_of(InvalidMessageError(text))
    assert decode_message(encode_message(bye)) == bye
    assert len(bye.reason) <= MAX_EXCERPT
    assert bye.reason.isprintable()


@pytest.mark.parametrize(
    ("value", "explanation"),
    [
        ("v=0", "descriptions, candidates and Bye, not str"),
        (None, "not NoneType"),
        (Bye("\ud800"), "surrogates"),
        (Bye("x" * MAX_MESSAGE_SIZE), "too large"),
    ],
)
def test_what_cannot_be_sent_is_the_callers_mistake(value, explanation):
    with pytest.raises(UsageError, match=explanation):
        encode_message(value)


def test_a_reason_that_is_no_text_is_the_callers_mistake():
    with pytest.raises(UsageError, match="not int"):
        Bye(1)
