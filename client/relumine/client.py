"""The synchronous client of the server's HTTP API, typed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypedDict, TypeVar, Unpack
from urllib.parse import quote

import httpx

from relumine._runtime.http import NOT_RELUMINE, UnboundedResponse, client_options, parse_problem, read_body
from relumine._runtime.settings import resolve_settings
from relumine.errors import ServerError, SettingsError
from relumine.schemas.alert import Alert, AlertDetail, AlertEvent, Severity, Silence
from relumine.schemas.base import Page, View
from relumine.schemas.chart import Overview, Series, Units
from relumine.schemas.policy import Backtest, Policy
from relumine.schemas.printable import printable
from relumine.schemas.run import Layer, Project, Run
from relumine.schemas.webhook import Delivery, DeliveryState, TestDelivery, Webhook, WebhookFormat

ViewT = TypeVar("ViewT", bound=View)

# The server runs the detector twice over thousands of records before its response begins.
BACKTEST_TIMEOUT_S = 120.0

# The longest answer that is read, and how long reading one may take.
MAX_RESPONSE_BYTES = 64 * 2**20
MAX_RESPONSE_S = 300.0

# Pages without an item in a row, after which a list is taken for endless.
MAX_EMPTY_PAGES = 100


class WebhookFields(TypedDict, total=False):
    """Fields of a webhook beside its URL; docs/api.md has the defaults."""

    events: Sequence[str]
    min_severity: Severity
    project: str | None
    format: WebhookFormat
    group_wait_s: float


class WebhookChanges(WebhookFields, total=False):
    """Fields of a webhook that can be changed."""

    url: str
    enabled: bool


class Client:
    """A client of one server. Every method raises ServerError if the server refuses a request or does not respond.

    Example:
        >>> client = Client("http://127.0.0.1:7358")
        >>> client.close()
    """

    def __init__(self, url: str | None = None, api_key: str | None = None, *, timeout_s: float = 30.0) -> None:
        settings = resolve_settings(url=url, api_key=api_key)
        self.url = settings.url
        try:
            self._http = httpx.Client(base_url=settings.url, timeout=timeout_s, **client_options(settings))
        except (ImportError, ValueError) as error:  # its text may hold the proxy's password
            raise SettingsError(f"the proxy of the environment cannot be used ({type(error).__name__})") from None

    def projects(self) -> Iterator[Project]:
        """Return all projects."""
        return self._items("/v1/projects", Project)

    def policy(self, project: str) -> Policy:
        """Return the detector's thresholds that are in force in a project."""
        return self._get(_policy_path(project), Policy)

    def set_policy(self, project: str, thresholds: Mapping[str, float]) -> Policy:
        """Replace a project's own thresholds; those left out return to their defaults."""
        content = self._send("PUT", _policy_path(project), json={"thresholds": dict(thresholds)})
        return _parsed(Policy, content)

    def backtest(
        self, project: str, thresholds: Mapping[str, float], *, run_ids: Sequence[str] | None = None, limit: int = 20
    ) -> Backtest:
        """Return what these thresholds would have raised on stored runs, beside those in force. May take a minute."""
        body = {"project": project, "thresholds": dict(thresholds), "limit": limit}
        if run_ids is not None:
            body["run_ids"] = list(run_ids)
        content = self._send("POST", "/v1/policy/backtest", json=body, timeout=BACKTEST_TIMEOUT_S)
        return _parsed(Backtest, content)

    def runs(self, *, project: str | None = None, group: str | None = None, status: str | None = None) -> Iterator[Run]:
        """Return runs, newest first; pages are fetched as they are needed."""
        return self._items("/v1/runs", Run, project=project, group=group, status=status)

    def run(self, run_id: str) -> Run:
        """Return one run."""
        return self._get(f"/v1/runs/{run_id}", Run)

    def layers(self, run_id: str) -> list[Layer]:
        """Return the layers of a run, those at most risk first."""
        return list(self._items(f"/v1/runs/{run_id}/layers", Layer))

    def overview(self, run_id: str, *, after_step: int | None = None) -> Overview:
        """Return everything that the run's page shows, of steps after ``after_step``."""
        return self._get(f"/v1/runs/{run_id}/overview", Overview, after_step=after_step)

    def series(
        self,
        run_id: str,
        layer_id: int,
        statistics: Sequence[str],
        *,
        from_step: int | None = None,
        to_step: int | None = None,
        points: int = 1000,
    ) -> Series:
        """Return statistics of a layer over steps, at most ``points`` of them, with extremes preserved."""
        return self._get(
            f"/v1/runs/{run_id}/layers/{layer_id}/series",
            Series,
            statistics=",".join(statistics),
            from_step=from_step,
            to_step=to_step,
            points=points,
        )

    def units(self, run_id: str, layer_id: int, *, step: int | None = None) -> Units:
        """Return per-unit statistics of the record at or before ``step``; by default of the latest."""
        return self._get(f"/v1/runs/{run_id}/layers/{layer_id}/units", Units, step=step)

    def alerts(
        self,
        *,
        run_id: str | None = None,
        project: str | None = None,
        state: str | None = None,
        severity: str | None = None,
    ) -> Iterator[Alert]:
        """Return alerts, newest first."""
        return self._items("/v1/alerts", Alert, run_id=run_id, project=project, state=state, severity=severity)

    def alert(self, alert_id: str) -> AlertDetail:
        """Return one alert, with the remedies applied to it and their outcomes."""
        return self._get(f"/v1/alerts/{alert_id}", AlertDetail)

    def acknowledge(self, alert_id: str, *, author: str, note: str = "") -> AlertDetail:
        """Acknowledge an alert. Refused (409 ``alert_acknowledged``) if another author has acknowledged it."""
        return self._act(alert_id, "acknowledge", author, note)

    def resolve(self, alert_id: str, *, author: str, note: str = "") -> AlertDetail:
        """Resolve an alert by hand; it fires again if the detector raises it again or finds it worse."""
        return self._act(alert_id, "resolve", author, note)

    def events(self, alert_id: str) -> Iterator[AlertEvent]:
        """Return the events of an alert, oldest first: every transition of its state."""
        return self._items(f"/v1/alerts/{alert_id}/events", AlertEvent)

    def silences(self) -> Iterator[Silence]:
        """Return silences, newest first."""
        return self._items("/v1/silences", Silence)

    def silence(
        self,
        matchers: Mapping[str, str],
        *,
        ends_at: datetime,
        author: str,
        comment: str = "",
        starts_at: datetime | None = None,
    ) -> Silence:
        """Create a silence: no notifications of matching alerts, for a time.

        Args:
            matchers: values or globs such as ``encoder.*`` that an alert must match in all of these fields:
                ``project``, ``run_id``, ``group``, ``name``, ``layer``, ``kind``, ``severity``, ``cause``.
            ends_at: the end, with a time zone.
            author: the person who creates it.
            comment: the reason.
            starts_at: the start; now by default.
        """
        body: dict[str, Any] = {"matchers": dict(matchers), "ends_at": ends_at.isoformat(), "author": author}
        body["comment"] = comment
        if starts_at is not None:
            body["starts_at"] = starts_at.isoformat()
        return self._post("/v1/silences", Silence, body)

    def unsilence(self, silence_id: str) -> None:
        """End a silence now; alerts it held back that still fire are notified of."""
        self._send("DELETE", f"/v1/silences/{silence_id}")

    def webhooks(self) -> Iterator[Webhook]:
        """Return all webhooks, in the order of their creation."""
        return self._items("/v1/webhooks", Webhook)

    def webhook(self, webhook_id: str) -> Webhook:
        """Return one webhook."""
        return self._get(f"/v1/webhooks/{webhook_id}", Webhook)

    def create_webhook(self, url: str, **fields: Unpack[WebhookFields]) -> Webhook:
        """Create a webhook; the result contains its ``secret``, once."""
        return self._post("/v1/webhooks", Webhook, {"url": url, **fields})

    def change_webhook(self, webhook_id: str, **fields: Unpack[WebhookChanges]) -> Webhook:
        """Change the given fields of a webhook; ``project=None`` means every project."""
        content = self._send("PATCH", f"/v1/webhooks/{webhook_id}", json=fields)
        return _parsed(Webhook, content)

    def delete_webhook(self, webhook_id: str) -> None:
        """Delete a webhook and cancel its pending deliveries."""
        self._send("DELETE", f"/v1/webhooks/{webhook_id}")

    def test_webhook(self, webhook_id: str) -> TestDelivery:
        """Send a signed ``webhook.test``; ``delivery`` returns its result."""
        return self._post(f"/v1/webhooks/{webhook_id}/test", TestDelivery, {})

    def rotate_secret(self, webhook_id: str, *, overlap_s: float = 86_400.0) -> Webhook:
        """Replace the ``secret``, shown once; previous ones sign beside it for ``overlap_s`` seconds."""
        return self._post(f"/v1/webhooks/{webhook_id}/rotate-secret", Webhook, {"overlap_s": overlap_s})

    def deliveries(self, webhook_id: str, *, state: DeliveryState | None = None) -> Iterator[Delivery]:
        """Return the deliveries of a webhook with their attempts, newest first."""
        return self._items(f"/v1/webhooks/{webhook_id}/deliveries", Delivery, state=state)

    def delivery(self, delivery_id: str) -> Delivery:
        """Return one delivery with its attempts."""
        return self._get(f"/v1/deliveries/{delivery_id}", Delivery)

    def redeliver(self, delivery_id: str) -> Delivery:
        """Send a finished delivery again, under the same id."""
        return self._post(f"/v1/deliveries/{delivery_id}/redeliver", Delivery, {})

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def _act(self, alert_id: str, action: str, author: str, note: str) -> AlertDetail:
        content = self._send("POST", f"/v1/alerts/{alert_id}/{action}", json={"author": author, "note": note})
        return _parsed(AlertDetail, content)

    def _get(self, path: str, view: type[ViewT], **query: Any) -> ViewT:
        return _parsed(view, self._send("GET", path, params=_without_none(query)))

    def _post(self, path: str, view: type[ViewT], body: Mapping[str, Any]) -> ViewT:
        return _parsed(view, self._send("POST", path, json=dict(body)))

    def _items(self, path: str, view: type[ViewT], **query: Any) -> Iterator[ViewT]:
        cursor: str | None = None
        empty_pages = 0
        while True:
            page = self._get(path, Page[dict[str, Any]], cursor=cursor, **query)
            yield from (_parsed(view, item) for item in page.items)
            empty_pages = 0 if page.items else empty_pages + 1
            cursor = page.next_cursor
            if cursor is None:
                return
            if empty_pages >= MAX_EMPTY_PAGES:
                raise ServerError(NOT_RELUMINE)

    def _send(self, method: str, path: str, **options: Any) -> bytes:
        """Send a request; return the body of its response. Raises ServerError, whose message is safe to print."""
        try:
            with self._http.stream(method, path, **options) as response:
                encoding = response.headers.get("content-encoding", "")
                chunks = response.iter_raw()
                content = read_body(chunks, encoding, max_bytes=MAX_RESPONSE_BYTES, max_s=MAX_RESPONSE_S)
        except (httpx.HTTPError, httpx.InvalidURL, UnboundedResponse) as error:
            raise ServerError(f"{self.url} does not respond: {printable(error)}") from error
        if response.is_success:
            return content
        problem = parse_problem(content)
        if problem is None:
            raise ServerError(NOT_RELUMINE, status=response.status_code)
        sentence = printable(f"{problem.title}: {problem.detail}")
        raise ServerError(sentence, status=response.status_code, code=printable(problem.code))


def _parsed(view: type[ViewT], content: bytes | dict[str, Any]) -> ViewT:
    try:
        return view.model_validate_json(content) if isinstance(content, bytes) else view.model_validate(content)
    except ValueError as error:
        raise ServerError(NOT_RELUMINE) from error


def _policy_path(project: str) -> str:
    return f"/v1/projects/{quote(project, safe='')}/policy"


def _without_none(query: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in query.items() if value is not None}
