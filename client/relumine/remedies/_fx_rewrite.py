"""ReLUs that a forward calls as functions, found by torch.fx, and forwards rewritten to call something else instead.

torch.fx runs a forward once and records what it calls. It cannot record a branch: the side taken during tracing would
be taken always. So a forward with a branch, in any Python code that it runs, is refused instead of silently changed.
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

from relumine._torch.activations import match_activation

BRANCH_PREFIXES = ("POP_JUMP", "JUMP_IF")
"""Beginnings of the names of instructions that jump on a condition."""
FORWARD_BY_MODE = {True: "_forward_in_training", False: "_forward_in_evaluation"}
"""Names of the forwards, by ``training``, in a class made here for a module whose forward differs by mode."""
TRUSTED_PACKAGES = frozenset(sys.stdlib_module_names) | {"torch", "relumine"}
"""Packages whose branches are allowed: they test types and modes, which stay the same."""


class UntraceableError(Exception):
    """The reason why torch.fx cannot record a forward faithfully."""


@dataclass(frozen=True, slots=True)
class TracedForward:
    """The recorded forward of one module, its children left as calls.

    ``graphs`` are those of training and evaluation mode, or one if both are the same. ``relus`` holds, for each number
    of an activation (from 1) that is a ReLU, its node in every graph.
    """

    module: nn.Module
    graphs: tuple[fx.Graph, ...]
    relus: dict[int, tuple[fx.Node, ...]]


class _ShallowTracer(fx.Tracer):
    """Records one module without entering its children."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:  # noqa: ARG002 - torch's signature
        return True


def uses_name(module: nn.Module, names: frozenset[str]) -> bool:
    """Return True if a method of the module's class uses one of the names, other than for a child module.

    Methods of torch's own classes are not considered.
    """
    children = {name for name, _ in module.named_children()}
    for base in type(module).__mro__:
        if base.__module__.startswith("torch."):
            continue
        for method in vars(base).values():
            code = getattr(method, "__code__", None)
            if isinstance(code, CodeType) and _names_in(code) & (names - children):
                return True
    return False


def trace(module: nn.Module) -> TracedForward:
    """Record the module's forward in both modes; the module stays unchanged.

    Raises:
        UntraceableError: the record would not do the same as the forward.
    """
    _require_plain_arguments(module)
    training = module.training
    try:
        graphs = [_trace_in_mode(module, training=True), _trace_in_mode(module, training=False)]
    finally:
        module.training = training
    if str(graphs[0]) == str(graphs[1]):
        graphs = graphs[:1]
    relus_by_graph = [_relu_nodes(graph) for graph in graphs]
    numbers = relus_by_graph[0].keys()
    if any(relus.keys() != numbers for relus in relus_by_graph):
        raise UntraceableError("training and evaluation call different ReLUs")
    nodes = {number: tuple(relus[number] for relus in relus_by_graph) for number in numbers}
    return TracedForward(module, tuple(graphs), nodes)


def _require_plain_arguments(module: nn.Module) -> None:
    for parameter in inspect.signature(module.forward).parameters.values():
        is_variadic = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if is_variadic or parameter.default is not parameter.empty:
            raise UntraceableError(f"its argument {parameter.name} is optional")


def _trace_in_mode(module: nn.Module, *, training: bool) -> fx.Graph:
    module.training = training
    attributes = set(vars(module))
    tracer = _ShallowTracer()
    if hasattr(type(module), FORWARD_BY_MODE[training]):
        tracer.traced_func_name = FORWARD_BY_MODE[training]
    try:
        with _forbid_branches(module):
            graph = tracer.trace(module)
    except UntraceableError:
        raise
    except Exception as error:
        raise UntraceableError(f"torch.fx: {error}") from error
    finally:
        for name in set(vars(module)) - attributes:  # constants that the tracer stored on the module
            delattr(module, name)
    if any(node.op == "get_attr" and str(node.target).startswith("_tensor_constant") for node in graph.nodes):
        raise UntraceableError("it creates tensors")
    return graph


@contextmanager
def _forbid_branches(module: nn.Module) -> Iterator[None]:
    """Raise UntraceableError at the end if the forward, or user code that it called, contains a branch."""
    user_code = {inspect.unwrap(module.forward).__code__}
    branching: dict[str, None] = {}

    def profile(frame: FrameType, event: str, _argument: Any) -> None:
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        called_by_user_code = frame.f_back is not None and frame.f_back.f_code in user_code
        is_user_code = (frame.f_code in user_code or called_by_user_code) and package not in TRUSTED_PACKAGES
        if event == "call" and is_user_code:
            user_code.add(frame.f_code)
            if _has_branch(frame.f_code):
                branching[frame.f_code.co_qualname] = None

    earlier_profile = sys.getprofile()
    sys.setprofile(profile)
    try:
        yield
    finally:
        sys.setprofile(earlier_profile)
    if branching:
        raise UntraceableError(f"{next(iter(branching))} has a branch, and torch.fx would record one side of it only")


def _has_branch(code: CodeType) -> bool:
    return any(instruction.opname.startswith(BRANCH_PREFIXES) for instruction in dis.get_instructions(code))


def _names_in(code: CodeType) -> set[str]:
    """Return the global and attribute names that the code uses, also in functions defined in it."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= _names_in(constant)
    return names


def _relu_nodes(graph: fx.Graph) -> dict[int, fx.Node]:
    """Return the ReLUs by their number among the graph's activations, counted from 1 as ``watch`` counts them."""
    relus: dict[int, fx.Node] = {}
    number = 0
    for node in graph.nodes:
        if node.op not in ("call_function", "call_method"):
            continue
        function = getattr(torch.Tensor, node.target) if node.op == "call_method" else node.target
        activation = match_activation(function, node.args, node.kwargs)
        if activation is not None:
            number += 1
            if activation.name == "relu":
                relus[number] = node
    return relus


def replace_node(node: fx.Node, function: Callable[..., Any], arguments: dict[str, Any], parameter: str | None) -> None:
    """Make a node call ``function`` with its input and, if one is named, a parameter of the module."""
    graph = node.graph
    with graph.inserting_before(node):
        inputs = [node.args[0] if node.args else node.kwargs["input"]]
        if parameter is not None:
            inputs.append(graph.get_attr(parameter))
        replacement = graph.call_function(function, tuple(inputs), arguments)
    node.replace_all_uses_with(replacement)
    graph.erase_node(node)


def install_forward(traced: TracedForward) -> None:
    """Give the module the forward of its graphs, in place, by a subclass of its own class."""
    module = traced.module
    base = type(module)
    forwards = []
    for graph in traced.graphs:
        graph.lint()
        forwards.append(type(fx.GraphModule(module, graph)).forward)
    body: dict[str, Any] = {"forward": forwards[0], "__module__": base.__module__}
    if len(forwards) > 1:
        in_training, in_evaluation = forwards

        def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
            return in_training(self, *args, **kwargs) if self.training else in_evaluation(self, *args, **kwargs)

        vars(forward)["__signature__"] = inspect.signature(base.forward)
        body |= {"forward": forward, FORWARD_BY_MODE[True]: in_training, FORWARD_BY_MODE[False]: in_evaluation}
    module.__class__ = type(base.__name__, (base,), body)
