"""The one call a user makes: builds a monitor from a model, an optimizer and the settings, and sets it going."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch.optim import Optimizer

from relumine import __version__, _discover, _verdict
from relumine._clock import unwrapped
from relumine._cost import Cost
from relumine._engine import Engine
from relumine._guard import Guard, say
from relumine._hooks import Hooks
from relumine._identity import new_id
from relumine._patient import PatientTransport
from relumine._process import leave_in_child
from relumine._sender import Sender
from relumine._spool import SUFFIX, Backlog, Spool, SpoolTransport
from relumine._transport import HttpTransport, Transport
from relumine._uploads import Source, Uploads
from relumine.errors import SettingsError
from relumine.monitor import Monitor
from relumine.schedule import Schedule
from relumine.settings import Mode, Settings, resolve
from relumine.testing import transport_in_use
from relumine.views import Alert
from relumine.wire import RunInfo

Models: TypeAlias = _discover.Models
Optimizers: TypeAlias = Optimizer | Sequence[Optimizer] | Mapping[str, Optimizer]


def watch(  # noqa: PLR0913 - the one call a user makes; every argument has a name and a default
    model: Models,
    optimizer: Optimizers | None = None,
    *,
    project: str = "default",
    name: str | None = None,
    group: str | None = None,
    run_id: str | None = None,
    start_step: int | None = None,
    config: Mapping[str, Any] | None = None,
    tags: Iterable[str] = (),
    url: str | None = None,
    api_key: str | None = None,
    every: int | None = None,
    max_overhead: float = 0.01,
    include: Iterable[str] | None = None,
    exclude: Iterable[str] | None = None,
    on_alert: Callable[[Alert], object] | None = None,
    mode: Mode | None = None,
    strict: bool = False,
) -> Monitor:
    """Watch every unit of every ReLU of a model from here on.

    Args:
        model: one module, a list or a dict of them.
        optimizer: one, a list or a dict; its steps are counted by a hook. Without one call ``monitor.step()``.
        project: what the run belongs to.
        name: what people call the run.
        group: what runs are compared within, such as a sweep.
        run_id: go on with an earlier run, as a new session of it; default ``RELUMINE_RUN_ID``.
        start_step: the steps made before, where a run is resumed; by default what the optimizer remembers (Adam and
            its like do, SGD does not).
        config: settings of the training, shown beside it; JSON values.
        tags: words to find the run by.
        url: the server; default ``RELUMINE_URL``.
        api_key: its key; default ``RELUMINE_API_KEY``.
        every: look at every n-th step; None looks at a jittered interval of ten, and at every step when the
            learning rate jumps.
        max_overhead: the share of elapsed time that looking may take; only with ``every=None``.
        include: glob patterns; only layers whose name matches one are watched.
        exclude: glob patterns of layers to leave out.
        on_alert: called at the end of ``optimizer.step()`` when an alert is raised, returns, or becomes more severe.
        mode: ``online``, ``local`` (no server: detection in a thread of this process), ``offline`` (kept on disk for
            ``relumine sync``), ``disabled``.
        strict: let errors of the SDK out instead of holding them back.

    Raises:
        SettingsError: a setting that cannot be used. Nothing raises afterwards, unless ``strict``.

    Example:
        >>> import torch, relumine
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> with relumine.watch(model, optimizer, mode="disabled") as monitor:
        ...     optimizer.step()
    """
    settings = resolve(url=url, api_key=api_key, mode=mode, run_id=run_id)
    run = _run_info(settings, project, name, group, config, tags)
    if settings.mode == "disabled" or settings.rank:  # rank 0 speaks for all: its statistics are a fair sample
        return Monitor(run, settings, None)
    guard = Guard(strict=strict)
    names = _discover.Names(_discover.named_models(model), include, exclude)
    cost = Cost()
    engine = Engine(
        Hooks(names, cost, guard),
        cost,
        _optimizers(optimizer),
        Schedule(every, max_overhead, zlib.crc32(run.id.encode())),
        guard,
        on_alert,
    )
    engine.resume(start_step if start_step is not None or settings.run_id else 0)
    monitor = Monitor(run, settings, engine)
    source = Source(run, new_id(), settings.world_size)
    spool_path = settings.directory / run.id / f"{source.session}{SUFFIX}"
    backlog = Backlog(Spool(spool_path))
    transport = _transport(settings, run, spool_path)
    sender = Sender(Uploads(source, cost), engine.buffer, transport, backlog, guard, engine.answered)
    leave_in_child(engine)
    engine.begin(sender, lambda coverage: say(_verdict.opening(coverage, monitor.label, monitor.url)))
    return monitor


def _optimizers(optimizer: Optimizers | None) -> list[Optimizer]:
    if optimizer is None:
        return []
    if isinstance(optimizer, Optimizer):
        return [unwrapped(optimizer)]
    return [unwrapped(one) for one in (optimizer.values() if isinstance(optimizer, Mapping) else optimizer)]


def _run_info(
    settings: Settings,
    project: str,
    name: str | None,
    group: str | None,
    config: Mapping[str, Any] | None,
    tags: Iterable[str],
) -> RunInfo:
    """Raises SettingsError where a name or the config cannot be sent."""
    try:
        return RunInfo(
            id=settings.run_id or new_id(),
            project=project,
            name=name,
            group=group,
            config=dict(config or {}),
            tags=list(tags),
            sdk=__version__,
            torch=torch.__version__,
            started_at=time.time(),
            resumed=settings.run_id is not None,
        )
    except ValueError as error:
        raise SettingsError(str(error)) from error


def _transport(settings: Settings, run: RunInfo, spool_path: Path) -> Transport:
    given = transport_in_use()
    if given is not None:
        return given
    if settings.mode == "offline":
        return SpoolTransport(spool_path)
    if settings.mode == "local":
        from relumine._local import LocalTransport  # noqa: PLC0415 - needs the [server] extra

        return LocalTransport(settings.directory, run)
    return PatientTransport(HttpTransport(settings.url, settings.api_key))
