"""Log lines that strangers can cause: few, short, and each of them one line."""

import logging

import pytest

from trio_webrtc.shell.reporting import MAX_EXCERPT, Reporter, excerpt


@pytest.mark.parametrize("text", ["", "127.0.0.1 port 5", "naïve Ψ ☃", "x" * MAX_EXCERPT])
def test_what_is_short_and_printable_is_left_as_it_is(text):
    assert excerpt(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a\nb", r"a\nb"), ("\x1b[2J", r"\x1b[2J"), ("\ud800", r"\ud800"), ("\u202e", r"\u202e"), ("\u2028", r"\u2028")],
)
def test_what_does_more_than_print_is_spelt_out(text, shown):
    assert excerpt(text) == shown


@pytest.mark.parametrize("text", ["x" * (MAX_EXCERPT + 1), "\U000e0001" * MAX_EXCERPT, "x" * 10_000_000, "\n" * 150])
def test_of_what_is_long_the_beginning_is_shown(text):
    assert len(excerpt(text)) == MAX_EXCERPT
    assert excerpt(text).endswith("…")


async def test_a_report_is_one_short_line_whatever_it_quotes(caplog, autojump_clock):
    caplog.set_level(logging.INFO)
    Reporter(logging.getLogger("a server"), "here").report("kind", logging.INFO, "it said\n" + "x" * 100_000)
    (record,) = caplog.records
    assert record.message.startswith(r"here: it said\nxxx")
    assert len(record.message) < MAX_EXCERPT + 50
