"""ReLUs that a forward calls as functions, found by torch.fx, and forwards that call something else in their place.

torch.fx runs a forward once and writes down what it called. What it cannot write down is a choice: a branch is taken
once and for all. So forwards that choose, in any Python that they run, are refused instead of being changed unseen.
"""

from __future__ import annotations

import dis
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any

import torch
from torch import fx, nn

from relumine._activations import classify

CHOICES = ("POP_JUMP", "JUMP_IF")  # how the names of instructions that jump on a condition begin

IN_MODE = ("_forward_in_evaluation", "_forward_in_training")
"""What forwards that differ by mode are called in a class that was made here."""
OTHERS = frozenset(sys.stdlib_module_names) | {"torch", "relumine"}
"""Packages whose branches are their own: they ask for types and modes, which stay."""


class CannotTrace(Exception):
    """Why torch.fx cannot take a forward down faithfully."""


@dataclass(frozen=True, slots=True)
class Traced:
    """The forward of one module, children apart, in training and in evaluation mode, and the ReLUs in both.

    ``relus`` holds for the k-th activation (from 1), where it is a ReLU, its node in each of the graphs.
    """

    module: nn.Module
    graphs: tuple[fx.Graph, ...]
    relus: dict[int, tuple[fx.Node, ...]]


class _Shallow(fx.Tracer):
    """Takes down one module; what its children do is theirs."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:  # noqa: ARG002 - torch's signature
        return True


def mentions(module: nn.Module, names: frozenset[str]) -> bool:
    """Whether a method of its class, torch's own classes apart, names one of them without it being a child."""
    children = {name for name, _ in module.named_children()}
    for kind in type(module).__mro__:
        if not kind.__module__.startswith("torch."):
            for method in vars(kind).values():
                code = getattr(method, "__code__", None)
                if isinstance(code, CodeType) and _names(code) & (names - children):
                    return True
    return False


def trace(module: nn.Module) -> Traced:
    """Take down its forward. Raises CannotTrace, and leaves the module as it was."""
    for one in inspect.signature(module.forward).parameters.values():
        if one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD) or one.default is not one.empty:
            raise CannotTrace(f"its argument {one.name} is optional")
    training = module.training
    try:
        graphs = [_trace(module, mode) for mode in (True, False)]
    finally:
        module.training = training
    if str(graphs[0]) == str(graphs[1]):
        graphs = graphs[:1]
    found = [_relus(graph) for graph in graphs]
    if any(one.keys() != found[0].keys() for one in found):
        raise CannotTrace("training and evaluation call different ReLUs")
    return Traced(module, tuple(graphs), {k: tuple(one[k] for one in found) for k in found[0]})


def _trace(module: nn.Module, mode: bool) -> fx.Graph:  # noqa: FBT001 - one of two modes
    module.training = mode
    before = set(vars(module))
    tracer = _Shallow()
    if hasattr(type(module), IN_MODE[mode]):
        tracer.traced_func_name = IN_MODE[mode]
    try:
        with _no_choices(module):
            graph = tracer.trace(module)
    except CannotTrace:
        raise
    except Exception as error:
        raise CannotTrace(f"torch.fx: {error}") from error
    finally:
        for name in set(vars(module)) - before:  # constants that the tracer left on it
            delattr(module, name)
    if any(node.op == "get_attr" and str(node.target).startswith("_tensor_constant") for node in graph.nodes):
        raise CannotTrace("it makes tensors of its own")
    return graph


@contextmanager
def _no_choices(module: nn.Module) -> Iterator[None]:
    """Raise CannotTrace at the end where the forward, or Python of the user's that it called, has a branch in it."""
    run = {inspect.unwrap(module.forward).__code__}
    chosen: dict[str, None] = {}

    def profile(frame: FrameType, event: str, _argument: Any) -> None:
        home = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        called = frame.f_code in run or (frame.f_back is not None and frame.f_back.f_code in run)
        if event == "call" and called and home not in OTHERS:
            run.add(frame.f_code)
            if _chooses(frame.f_code):
                chosen[frame.f_code.co_qualname] = None

    earlier = sys.getprofile()
    sys.setprofile(profile)
    try:
        yield
    finally:
        sys.setprofile(earlier)
    if chosen:
        raise CannotTrace(f"{next(iter(chosen))} has a branch, and torch.fx would take one side of it for good")


def _chooses(code: CodeType) -> bool:
    return any(one.opname.startswith(CHOICES) for one in dis.get_instructions(code))


def _names(code: CodeType) -> set[str]:
    inner = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return set(code.co_names).union(*(_names(one) for one in inner))


def _relus(graph: fx.Graph) -> dict[int, fx.Node]:
    """Its ReLUs by their place among its activations, counted from 1 as ``watch`` counts them."""
    found: dict[int, fx.Node] = {}
    count = 0
    for node in graph.nodes:
        if node.op in ("call_function", "call_method"):
            function = getattr(torch.Tensor, node.target) if node.op == "call_method" else node.target
            activation = classify(function, node.args, node.kwargs)
            count += activation is not None
            if activation is not None and activation.name == "relu":
                found[count] = node
    return found


def put(node: fx.Node, function: Callable[..., Any], arguments: dict[str, Any], parameter: str | None) -> None:
    """Let a node call ``function`` of what it read, and of the parameter of that name."""
    graph = node.graph
    with graph.inserting_before(node):
        read = node.args[0] if node.args else node.kwargs["input"]
        more = () if parameter is None else (graph.get_attr(parameter),)
        new = graph.call_function(function, (read, *more), arguments)
    node.replace_all_uses_with(new)
    graph.erase_node(node)


def graft(traced: Traced) -> None:
    """Give the module, in place, the forward that its graphs say, as a subclass of its own class."""
    module, base = traced.module, type(traced.module)
    forwards = []
    for graph in traced.graphs:
        graph.lint()
        forwards.append(type(fx.GraphModule(module, graph)).forward)

    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        return forwards[0 if self.training else -1](self, *args, **kwargs)

    vars(forward)["__signature__"] = inspect.signature(base.forward)
    body: dict[str, Any] = {"forward": forwards[0], "__module__": base.__module__}
    if len(forwards) > 1:
        body |= {"forward": forward, IN_MODE[True]: forwards[0], IN_MODE[False]: forwards[1]}
    module.__class__ = type(base.__name__, (base,), body)
