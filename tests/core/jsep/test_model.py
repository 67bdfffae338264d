"""Two sides against a small model of RFC 9429: what each state allows happens, what it forbids changes nothing."""

from dataclasses import dataclass, replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from trio_webrtc.core.sdp import parse
from trio_webrtc.errors import InvalidDescriptionError, UsageError

from .conftest import Side

SIDES = st.sampled_from(["left", "right"])
DESCRIPTIONS = ("current-local", "pending-local", "current-remote", "pending-remote")


@dataclass(frozen=True)
class Model:
    """What W3C §4.4.1.5 makes of one side: its state, and which of its four descriptions there are."""

    state: str = "stable"
    current: tuple[str, str] | None = None
    """The kinds of the local and the remote description that were agreed on."""
    local: str | None = None
    remote: str | None = None

    @property
    def kinds(self) -> tuple[str | None, ...]:
        current_local, current_remote = self.current or (None, None)
        return current_local, self.local, current_remote, self.remote

    def after(self, who: str, kind: str) -> "Model | None":
        """The model after a description was set by `who`, "local" or "remote"; None where that is forbidden."""
        allowed = {
            ("local", "offer"): {"stable", "have-local-offer"},
            # RFC 9429 §4.1.10.2 has the peer's offer replace ours; W3C does it by an implicit rollback.
            ("remote", "offer"): {"stable", "have-remote-offer", "have-local-offer"},
            ("local", "answer"): {"have-remote-offer", "have-local-pranswer"},
            ("local", "pranswer"): {"have-remote-offer", "have-local-pranswer"},
            ("remote", "answer"): {"have-local-offer", "have-remote-pranswer"},
            ("remote", "pranswer"): {"have-local-offer", "have-remote-pranswer"},
            ("local", "rollback"): {"have-local-offer", "have-remote-offer"},
            ("remote", "rollback"): {"have-local-offer", "have-remote-offer"},
        }
        if self.state not in allowed[who, kind]:
            return None
        match kind:
            case "offer":
                return Model(f"have-{who}-offer", self.current, **{who: "offer"})
            case "pranswer":
                return replace(self, state=f"have-{who}-pranswer", **{who: "pranswer"})
            case "answer":
                return Model(current=("answer", "offer") if who == "local" else ("offer", "answer"))
        return Model(current=self.current)


class Negotiations(RuleBasedStateMachine):
    """Either side does anything at any time, with what the other has said last or long ago."""

    @initialize()
    def begin(self):
        self.sides = {name: Side(name) for name in ("left", "right")}
        self.models = {name: Model() for name in self.sides}
        self.said: dict[str, list[tuple[str, str]]] = {name: [] for name in self.sides}
        self.has_data = dict.fromkeys(self.sides, False)
        self.versions: dict[str, dict[int, str]] = {name: {} for name in self.sides}

    def attempt(self, name, who, kind, act):
        """Do something; see that it is done if it is allowed, and else changes nothing."""
        side, model = self.sides[name], self.models[name]
        before = self.visible(side)
        after = model.after(who, kind)
        if after is None:
            with pytest.raises(UsageError, match=side.state):
                act(side)
        else:
            try:
                act(side)
            except InvalidDescriptionError:
                after = None  # a description that is out of place: too old, or of another exchange
        if after is None:
            assert self.visible(side) == before
            return False
        self.models[name] = after
        return True

    def visible(self, side):
        return side.state, side.needed, [side.describe(which) for which in DESCRIPTIONS]

    @rule(name=SIDES)
    def request_data(self, name):
        self.sides[name].request_data()
        self.has_data[name] = True

    @rule(name=SIDES)
    def restart(self, name):
        self.sides[name].restart()

    @rule(name=SIDES, kind=st.sampled_from(["offer", "answer", "pranswer"]), made_before=st.booleans())
    def set_local(self, name, kind, made_before):
        def act(side):
            if made_before:
                made = side.create_offer() if kind == "offer" else side.create_answer()
                side.sets_local(kind, made)
            else:
                side.sets_local(kind)

        if self.attempt(name, "local", kind, act):
            side = self.sides[name]
            self.said[name].append(side.describe("current-local" if kind == "answer" else "pending-local"))
            self.check_version(name, self.said[name][-1][1])

    def check_version(self, name, text):
        """RFC 3264 §8: one version is one description."""
        version = parse(text).origin.session_version
        assert self.versions[name].setdefault(version, text) == text

    @rule(name=SIDES, age=st.integers(0, 2))
    def take(self, name, age):
        said = self.said["left" if name == "right" else "right"]
        if len(said) > age:
            kind, text = said[-1 - age]
            self.attempt(name, "remote", kind, lambda side: side.sets_remote(kind, text))

    @rule(name=SIDES, who=st.sampled_from(["local", "remote"]))
    def roll_back(self, name, who):
        def act(side):
            return side.sets_local("rollback") if who == "local" else side.sets_remote("rollback", "")

        if self.attempt(name, who, "rollback", act):
            assert self.sides[name].applied.rolled_back

    @rule(name=SIDES, kind=st.sampled_from(["offer", "answer"]))
    def set_what_was_never_made(self, name, kind):
        side = self.sides[name]
        before = self.visible(side)
        with pytest.raises(UsageError):
            side.sets_local(kind, "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n")
        assert self.visible(side) == before

    @rule(offerer=SIDES, pranswers=st.integers(0, 1))
    def whole_round(self, offerer, pranswers):
        """Where both are stable and have heard the same, all goes well."""
        answerer = "left" if offerer == "right" else "right"
        if {self.models[name].state for name in self.sides} != {"stable"} or not self.is_agreed():
            return
        self.set_local(offerer, "offer", made_before=False)
        self.take(answerer, 0)
        assert self.models[answerer].state == "have-remote-offer"
        for kind in ["pranswer"] * pranswers + ["answer"]:
            self.set_local(answerer, kind, made_before=False)
            self.take(offerer, 0)
        assert {self.models[name].state for name in self.sides} == {"stable"}
        left, right = (self.sides[name].applied for name in ("left", "right"))
        assert left.data_negotiated is right.data_negotiated
        if left.data_negotiated:
            assert {left.dtls_role, right.dtls_role} == {"client", "server"}
            assert (left.remote.ufrag, right.remote.ufrag) == (right.local.ufrag, left.local.ufrag)

    def is_agreed(self):
        left, right = (self.sides[name] for name in ("left", "right"))
        return [left.describe(which) for which in ("current-local", "current-remote")] == [
            right.describe(which) for which in ("current-remote", "current-local")
        ]

    @invariant()
    def what_is_seen_is_as_the_model_says(self):
        for name, side in self.sides.items():
            model = self.models[name]
            assert side.state == model.state
            kinds = tuple(found and found[0] for found in map(side.describe, DESCRIPTIONS))
            assert kinds == model.kinds
            if model.state != "stable":
                assert not side.needed
            elif model.current is None:
                assert side.needed is self.has_data[name]


Negotiations.TestCase.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
TestNegotiations = Negotiations.TestCase
