import gc

import pytest
import trio

from trio_webrtc.shell.scope import scope
from trio_webrtc.shell.unwrapping import UnwrappingNursery


async def fail(error):
    raise error


async def fail_when_cancelled(error):
    try:
        await trio.sleep_forever()
    finally:
        raise error


async def test_the_bodys_own_exception_comes_out_as_itself():
    mine = ValueError("mine")
    with pytest.raises(ValueError, match="mine") as caught:
        async with UnwrappingNursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            raise mine
    assert caught.value is mine
    assert mine.__context__ is None
    assert mine.__cause__ is None


async def test_the_bodys_own_exception_keeps_its_cause_and_context():
    cause = KeyError("cause")
    with pytest.raises(ValueError, match="mine") as caught:
        async with UnwrappingNursery():
            raise ValueError("mine") from cause
    assert caught.value.__cause__ is cause
    assert caught.value.__suppress_context__


async def test_the_bodys_own_group_comes_out_as_itself():
    mine = ExceptionGroup("mine", [ValueError(), KeyError()])
    with pytest.RaisesGroup(ValueError, KeyError) as caught:
        async with UnwrappingNursery():
            raise mine
    assert caught.value.exceptions == mine.exceptions


async def test_the_only_exception_of_a_task_comes_out_as_itself():
    tasks = ValueError("the task's")
    with pytest.raises(ValueError, match="the task's") as caught:
        async with UnwrappingNursery() as nursery:
            nursery.start_soon(fail, tasks)
            await trio.sleep_forever()
    assert caught.value is tasks
    assert tasks.__context__ is None


async def test_several_exceptions_stay_a_group():
    with pytest.RaisesGroup(ValueError, KeyError):
        async with UnwrappingNursery() as nursery:
            nursery.start_soon(fail_when_cancelled, KeyError())
            await trio.testing.wait_all_tasks_blocked()
            raise ValueError


async def test_the_bodys_own_exception_wins_over_cancellation_from_outside():
    with pytest.raises(ValueError, match="mine"):  # noqa: SIM117
        with trio.CancelScope() as outer:
            async with UnwrappingNursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                await trio.testing.wait_all_tasks_blocked()
                outer.cancel()
                raise ValueError("mine")


@pytest.mark.parametrize("kind", [ValueError, SystemExit])
async def test_the_only_exception_of_a_task_wins_over_cancellation_from_outside(kind):
    with pytest.raises(kind, match="the task's"):  # noqa: SIM117
        with trio.CancelScope() as outer:
            async with UnwrappingNursery() as nursery:
                nursery.start_soon(fail_when_cancelled, kind("the task's"))
                nursery.start_soon(trio.sleep_forever)
                await trio.testing.wait_all_tasks_blocked()
                outer.cancel()
                await trio.sleep_forever()


async def test_cancellation_from_outside_passes_through_quietly():
    with trio.CancelScope() as outer:
        async with UnwrappingNursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            outer.cancel()
            await trio.sleep_forever()
    assert outer.cancelled_caught


async def test_no_garbage_remains():
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            with pytest.raises(ValueError, match="mine"):
                async with UnwrappingNursery():
                    raise ValueError("mine")
        assert not [thing for thing in gc.get_objects() if isinstance(thing, ValueError) and thing.args == ("mine",)]
    finally:
        gc.enable()


async def test_a_scope_enters_and_leaves_as_its_generator_says():
    story = []

    @scope
    async def open_thing(name):
        story.append(f"open {name}")
        try:
            yield name.upper()
        finally:
            await trio.lowlevel.checkpoint()
            story.append(f"close {name}")

    async with open_thing("door") as thing:
        story.append(thing)
    with pytest.raises(ValueError, match="mine"):
        async with open_thing("window"):
            raise ValueError("mine")
    assert story == ["open door", "DOOR", "close door", "open window", "close window"]
    assert open_thing.__name__ == "open_thing"


async def test_only_the_body_of_a_scope_can_be_interrupted():
    protected = []

    @scope
    async def open_thing():
        protected.append(trio.lowlevel.currently_ki_protected())
        yield
        protected.append(trio.lowlevel.currently_ki_protected())

    @trio.lowlevel.disable_ki_protection
    async def use_it():
        async with open_thing():
            protected.append(trio.lowlevel.currently_ki_protected())

    await use_it()
    assert protected == [True, False, True]
