"""The entry point ``watch``: builds the parts of a monitor from a model, optimizers and settings, and connects them."""

from __future__ import annotations

import weakref
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from torch.optim import Optimizer

from relumine._capture.forward_hooks import ForwardHooks
from relumine._export.queue import SampleQueue
from relumine._export.sender import Sender
from relumine._export.spool import SUFFIX, Backlog, OfflineTransport, Spool
from relumine._export.transport import BackgroundTransport, HttpTransport, Transport, transport_override
from relumine._export.upload_builder import UploadBuilder, UploadSource
from relumine._monitor import messages
from relumine._monitor.alert_dispatcher import AlertDispatcher
from relumine._monitor.monitor import Monitor, NoOpMonitor, end_earlier_monitors, run_url
from relumine._monitor.run_info import Labels, run_info
from relumine._monitor.sampling import SamplingSchedule
from relumine._monitor.session import MonitorSession
from relumine._runtime.guard import ErrorGuard
from relumine._runtime.log import logger
from relumine._runtime.overhead import Overhead
from relumine._runtime.process import register_at_fork, uuid7
from relumine._runtime.settings import Mode, Settings, resolve_settings
from relumine._torch import modules
from relumine._torch.optimizers import unwrap_optimizer
from relumine.schemas.alert import Alert
from relumine.schemas.upload import Coverage, RunInfo, UploadResponse

Models: TypeAlias = modules.Models
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
    config: Any = None,
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
    """Watch every unit of every ReLU of a model from now on.

    Args:
        model: one module, or a list or dict of modules.
        optimizer: one, or a list or dict; a hook counts its steps. Without one, call ``monitor.step()``.
        project: the project of the run.
        name: the name of the run.
        group: runs of one group are compared with each other, such as those of a sweep.
        run_id: the id of an earlier run to continue, as a new session of it; default ``RELUMINE_RUN_ID``.
        start_step: the steps made before, where a run is resumed; by default what the optimizer remembers (Adam and
            its like do, SGD does not).
        config: settings of the training, shown beside it: a mapping, ``vars(args)``, a namespace, a dataclass or a
            model of pydantic or OmegaConf. Values that JSON does not know are sent as text, large ones cut.
        tags: words to find the run by.
        url: the server; default ``RELUMINE_URL``.
        api_key: the server's API key; default ``RELUMINE_API_KEY``.
        every: sample every n-th step. None samples at a jittered interval of ten, and every step for a while after
            the learning rate jumped.
        max_overhead: the fraction of the elapsed time that sampling may take; only with ``every=None``.
        include: glob patterns; only layers whose name matches one are watched.
        exclude: glob patterns of layers to leave out.
        on_alert: called at the end of ``optimizer.step()`` when an alert is raised, returns, or becomes more severe.
        mode: ``online``, ``local`` (no server: detection in a thread of this process), ``offline`` (written to disk
            for ``relumine sync``), ``disabled``.
        strict: raise errors of the SDK instead of suppressing them.

    Raises:
        SettingsError: a ``url``, ``api_key``, ``mode`` or ``run_id`` that cannot be used, or an empty ``project``.
            Nothing raises after ``watch`` returned, unless ``strict``.

    Example:
        >>> import torch, relumine
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> with relumine.watch(model, optimizer, mode="disabled") as monitor:
        ...     optimizer.step()
    """
    settings = resolve_settings(url=url, api_key=api_key, mode=mode, run_id=run_id)
    run = run_info(settings, Labels(project, name, group, config, tags))
    if settings.mode == "disabled" or settings.rank:
        return NoOpMonitor(run, settings)
    parts = _SharedParts(run, settings, ErrorGuard(strict=strict), Overhead(), SampleQueue())
    names = modules.ModuleNames(modules.named_models(model), _patterns(include), _patterns(exclude))
    schedule = SamplingSchedule(every, max_overhead, seed=zlib.crc32(run.id.encode()))
    session = _start_session(parts, names, _optimizers(optimizer), schedule, on_alert=on_alert, start_step=start_step)
    return Monitor(run, settings, session)


class _SharedParts(NamedTuple):
    """Values that several parts of a session need."""

    run: RunInfo
    settings: Settings
    guard: ErrorGuard
    overhead: Overhead
    queue: SampleQueue


def _start_session(
    parts: _SharedParts,
    names: modules.ModuleNames,
    optimizers: list[Optimizer],
    schedule: SamplingSchedule,
    *,
    on_alert: Callable[[Alert], object] | None,
    start_step: int | None,
) -> MonitorSession:
    if start_step is None and not parts.settings.run_id:
        start_step = 0  # only a run that is continued starts at the step that its optimizers remember
    dispatcher = AlertDispatcher(on_alert, parts.queue)
    session = MonitorSession(
        hooks=ForwardHooks(names, parts.overhead, parts.guard),
        optimizers=optimizers,
        schedule=schedule,
        queue=parts.queue,
        sender=_sender(parts, schedule, dispatcher),
        dispatcher=dispatcher,
        guard=parts.guard,
        overhead=parts.overhead,
        start_step=start_step,
        on_first_stats=lambda coverage: _log_start(parts, coverage),
    )
    _start(session)
    return session


def _start(session: MonitorSession) -> None:
    """Start the session in place of an earlier one of the same model; leave nothing behind if that is interrupted."""
    end_earlier_monitors(session.hooks.names)
    register_at_fork(session)
    try:
        session.start()
    except BaseException:
        session.shutdown()
        session.sender.announce_close("failed", 0.0)
        raise


def _log_start(parts: _SharedParts, coverage: Coverage) -> None:
    logger.info("%s", messages.started(coverage, parts.run.label, run_url(parts.run, parts.settings)))


def _sender(parts: _SharedParts, schedule: SamplingSchedule, dispatcher: AlertDispatcher) -> Sender:
    source = UploadSource(parts.run, session=uuid7(), world_size=parts.settings.world_size)
    spool_path = parts.settings.directory / parts.run.id / f"{source.session}{SUFFIX}"

    # The sender thread must not hold ``on_alert``, and with it the user's model: the thread would keep it alive.
    dispatcher_reference = weakref.ref(dispatcher)

    def on_response(response: UploadResponse) -> None:
        if response.sample_every is not None:
            schedule.set_min_interval(response.sample_every)
        current = dispatcher_reference()
        if current is not None:
            current.receive(response.alerts)

    return Sender(
        UploadBuilder(source, parts.overhead),
        parts.queue,
        _transport(parts.settings, parts.run, spool_path),
        Backlog(Spool(spool_path)),
        guard=parts.guard,
        on_response=on_response,
    )


def _optimizers(optimizer: Optimizers | None) -> list[Optimizer]:
    if optimizer is None:
        return []
    if isinstance(optimizer, Optimizer):
        return [unwrap_optimizer(optimizer)]
    members = optimizer.values() if isinstance(optimizer, Mapping) else optimizer
    return [unwrap_optimizer(member) for member in members]


def _patterns(patterns: Iterable[str] | None) -> list[str] | None:
    return None if patterns is None else modules.as_patterns(patterns)


def _transport(settings: Settings, run: RunInfo, spool_path: Path) -> Transport:
    override = transport_override()
    if override is not None:
        return override
    if settings.mode == "offline":
        return OfflineTransport(spool_path)
    if settings.mode == "local":
        from relumine._export.local_detector import LocalTransport  # noqa: PLC0415 - needs the [server] extra

        return LocalTransport(settings.directory, run)
    return BackgroundTransport(HttpTransport(settings.url, settings.api_key))
