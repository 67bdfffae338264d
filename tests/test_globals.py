"""No module-level mutable state: any number of event loops and threads may use the package at once."""

import ast
import importlib
import pkgutil
import sys
from collections.abc import Iterator
from types import ModuleType

import trio_webrtc
from trio_webrtc import open_peer_connection
from trio_webrtc.testing import VirtualNetwork

MUTABLE = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
MUTABLE_MAKERS = {
    "list",
    "dict",
    "set",
    "bytearray",
    "deque",
    "defaultdict",
    "OrderedDict",
    "Counter",
    "count",
    "cycle",
}


def modules() -> Iterator[ModuleType]:
    for info in pkgutil.walk_packages(trio_webrtc.__path__, "trio_webrtc."):
        importlib.import_module(info.name)
    return iter([module for name, module in sorted(sys.modules.items()) if name.split(".")[0] == "trio_webrtc"])


def contents(value: object, depth: int = 6) -> object:
    """What a value is made of, deep enough to see a container change."""
    if depth and isinstance(value, dict):
        return [(repr(key), contents(item, depth - 1)) for key, item in value.items()]
    if depth and isinstance(value, list | tuple | set | frozenset):
        return [type(value).__name__, *(contents(item, depth - 1) for item in value)]
    return id(value)


def snapshot() -> dict[str, object]:
    """Each name of each module, and each attribute of its classes, with identity and contents."""
    seen = {}
    for module in modules():
        for name, value in vars(module).items():
            if name == "__builtins__":
                continue
            seen[f"{module.__name__}.{name}"] = (id(value), contents(value))
            if isinstance(value, type) and value.__module__ == module.__name__:
                for attribute, item in vars(value).items():
                    if not attribute.startswith(("__", "_abc_")):
                        seen[f"{module.__name__}.{name}.{attribute}"] = contents(item)
    return seen


async def one_session() -> None:
    network = VirtualNetwork(seed=1, latency=0.01)
    left, right = network.add_host("10.0.0.1"), network.add_host("10.0.0.2")
    async with open_peer_connection(network=left) as caller, open_peer_connection(network=right) as callee:
        near = caller.create_data_channel("chat")
        await caller.set_local_description()
        await caller.wait_gathering_complete()
        await callee.set_remote_description(caller.local_description)
        await callee.set_local_description()
        await callee.wait_gathering_complete()
        await caller.set_remote_description(callee.local_description)
        await near.send("hello")
        far = await callee.incoming_data_channels.receive()
        assert await far.receive() == "hello"


async def test_no_module_remembers_a_session(autojump_clock):
    before = snapshot()
    await one_session()
    after = snapshot()
    assert after.keys() == before.keys()
    assert [name for name in before if after[name] != before[name]] == []


def test_no_module_holds_a_container_that_could_change(project_root):
    offenders = []
    for path in sorted((project_root / "src" / "trio_webrtc").rglob("*.py")):
        for scope in scopes(ast.parse(path.read_text(encoding="utf-8"))):
            for statement in scope.body:
                for name, value in assigned(statement):
                    if name != "__all__" and is_mutable(value) and not is_final(statement):
                        offenders.append(f"{path.relative_to(project_root)}:{statement.lineno}: {name}")
    assert offenders == []


def scopes(module: ast.Module) -> Iterator[ast.Module | ast.ClassDef]:
    yield module
    yield from (node for node in ast.walk(module) if isinstance(node, ast.ClassDef))


def assigned(statement: ast.stmt) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(statement, ast.Assign):
        for target in statement.targets:
            yield ast.unparse(target), statement.value
    elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
        yield ast.unparse(statement.target), statement.value


def is_final(statement: ast.stmt) -> bool:
    """Declared constant: mypy sees to the name, and the test above to the contents."""
    annotation = ast.unparse(statement.annotation) if isinstance(statement, ast.AnnAssign) else ""
    return annotation.startswith(("Final", "ClassVar"))


def is_mutable(value: ast.expr) -> bool:
    if isinstance(value, ast.Call):
        maker = value.func.attr if isinstance(value.func, ast.Attribute) else getattr(value.func, "id", "")
        return maker in MUTABLE_MAKERS
    return isinstance(value, MUTABLE)


def test_no_function_declares_a_global(project_root):
    for path in (project_root / "src" / "trio_webrtc").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert not [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Global)], path
