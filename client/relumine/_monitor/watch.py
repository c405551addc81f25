"""The entry point ``watch``: builds the parts of a monitor from a model, optimizers and settings, and connects them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
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
from relumine._monitor.monitor import Monitor, end_earlier_monitors, run_url
from relumine._monitor.noop_monitor import NoOpMonitor
from relumine._monitor.run_info import Labels, run_info
from relumine._monitor.sampling import SamplingSchedule
from relumine._monitor.server_run import ServerRun
from relumine._monitor.session import MonitorSession
from relumine._monitor.step_loop import StepLoop
from relumine._monitor.training_account import TrainingAccount
from relumine._runtime.guard import ErrorGuard
from relumine._runtime.log import logger
from relumine._runtime.overhead import Overhead
from relumine._runtime.process import register_at_fork, uuid7
from relumine._runtime.settings import Mode, Settings, resolve_settings
from relumine._torch import modules
from relumine._torch.distributed import this_process
from relumine._torch.optimizers import find_optimizers, parameter_ids
from relumine.errors import SettingsError
from relumine.schemas.alert import Alert
from relumine.schemas.upload import Coverage, RunInfo
from relumine.schemas.watching import Watching

Models: TypeAlias = modules.Models
# One, several, or whatever wraps them: the wrappers of other libraries share no type.
Optimizers: TypeAlias = Any


def watch(  # noqa: PLR0913 - the one call a user makes; every argument has a name and a default
    model: Models,
    optimizer: Optimizers | None = None,
    *,
    project: str = "default",
    name: str | None = None,
    group: str | None = None,
    run_id: str | int | None = None,
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
        optimizer: one, or a list or dict; a hook counts its steps, also inside wrappers such as SAM or those of
            Accelerate and Opacus, and goes on with the optimizer that replaces it. Without one, call
            ``monitor.step()``.
        project: the project of the run.
        name: the name of the run.
        group: runs of one group are compared with each other, such as those of a sweep.
        run_id: the id of an earlier run to continue, as a new session of it; default ``RELUMINE_RUN_ID``, which
            independent tasks of one launcher take with their number appended.
        start_step: the steps made before, if a run is resumed; by default what the optimizer remembers (Adam and
            its like do, SGD does not).
        config: settings of the training, shown beside it: a mapping, ``vars(args)``, a namespace, a dataclass or a
            model of pydantic or OmegaConf. Values that JSON does not know are sent as text, large ones cut.
        tags: words by which the run can be found.
        url: the server; default ``RELUMINE_URL``.
        api_key: the server's API key; default ``RELUMINE_API_KEY``.
        every: sample every n-th step. None samples at a jittered interval of five in the first thousand steps and of
            ten after them, and every step for a while after the learning rate jumped.
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
    settings = resolve_settings(url=url, api_key=api_key, mode=mode, run_id=run_id, process=this_process())
    run = run_info(settings, Labels(project, name, group, config, tags))
    if settings.mode == "disabled" or settings.rank:
        return _unwatched(run, settings)
    parts = _SharedParts(run, settings, ErrorGuard(strict=strict), Overhead(), SampleQueue())
    names = modules.ModuleNames(modules.named_models(model), _patterns(include), _patterns(exclude))
    schedule = SamplingSchedule(every, max_overhead)
    session = _start_session(parts, names, optimizer, schedule, on_alert=on_alert, start_step=start_step)
    return Monitor(run, settings, session)


def _unwatched(run: RunInfo, settings: Settings) -> NoOpMonitor:
    if settings.mode != "disabled":
        logger.info("%s", messages.other_rank(settings.rank, settings.world_size))
    return NoOpMonitor(run, settings)


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
    optimizer: Optimizers | None,
    schedule: SamplingSchedule,
    *,
    on_alert: Callable[[Alert], object] | None,
    start_step: int | None,
) -> MonitorSession:
    loop = StepLoop(
        hooks=ForwardHooks(names, parts.overhead, parts.guard),
        optimizers=_optimizers(optimizer, names),
        schedule=schedule,
        queue=parts.queue,
        dispatcher=AlertDispatcher(on_alert, parts.queue),
        account=TrainingAccount(list(names.parameters()), schedule.every),
        guard=parts.guard,
        overhead=parts.overhead,
        start_step=_first_step(parts.settings, start_step),
    )
    session = MonitorSession(
        loop=loop,
        sender=_sender(parts),
        server_run=ServerRun(parts.run),
        on_first_stats=lambda coverage: _log_start(parts, coverage),
        on_watching=lambda watching: _log_watching(parts, watching),
    )
    _start(session)
    return session


def _first_step(settings: Settings, start_step: int | None) -> int | None:
    """Return the step to start at; None for that which the optimizers remember, where a run is continued."""
    return 0 if start_step is None and not settings.run_id else start_step


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
    logger.info("%s", messages.started(coverage, parts.run.label, run_url(parts.run.id, parts.settings)))


def _log_watching(parts: _SharedParts, watching: Watching) -> None:
    level = logging.INFO if watching.reason is None else logging.WARNING
    logger.log(level, "%s", messages.watching_changed(parts.run.label, watching))


def _sender(parts: _SharedParts) -> Sender:
    source = UploadSource(parts.run, session=uuid7(), world_size=parts.settings.world_size)
    spool_path = parts.settings.directory / parts.run.id / f"{source.session}{SUFFIX}"

    return Sender(
        UploadBuilder(source, parts.overhead),
        parts.queue,
        _transport(parts.settings, parts.run, spool_path),
        Backlog(Spool(spool_path)),
        guard=parts.guard,
    )


def _optimizers(source: Optimizers | None, names: modules.ModuleNames) -> list[Optimizer]:
    """Return the optimizers whose steps are counted; say so where one trains nothing that is watched.

    Raises:
        SettingsError: there is none whose steps a hook can count.
    """
    if source is None:
        return []
    optimizers: list[Optimizer] = []
    for member in _optimizer_arguments(source):
        inside = find_optimizers(member)
        if not inside:
            raise SettingsError(
                f"optimizer: the steps of a {type(member).__name__} cannot be counted, as no torch.optim.Optimizer was "
                "found in it. Pass the one that it uses, or pass none and call monitor.step() after every step"
            )
        optimizers += inside
    watched = names.parameter_ids()
    for optimizer in optimizers:
        if parameter_ids(optimizer).isdisjoint(watched):
            logger.warning("this %s has no parameter of the watched model", type(optimizer).__name__)
    return optimizers


def _optimizer_arguments(source: Optimizers) -> list[object]:
    if isinstance(source, Mapping):
        return list(source.values())
    if isinstance(source, (list, tuple)):
        return list(source)
    return [source]


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
    return BackgroundTransport(HttpTransport(settings))
