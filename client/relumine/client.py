"""What the server knows, typed: runs, layers, series, alerts; and what people say to it. One colour: synchronous."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, Self, TypedDict, TypeVar, Unpack
from urllib.parse import quote

import httpx

from relumine.curves import Overview, Series, Units
from relumine.errors import ServerError
from relumine.policies import Backtest, Policy
from relumine.receivers import Delivery, DeliveryState, Probe, Webhook
from relumine.settings import resolve
from relumine.views import (
    Alert,
    HistoryEntry,
    Layer,
    Page,
    Problem,
    Project,
    Run,
    Severity,
    Silence,
    TreatedAlert,
    View,
)

ViewT = TypeVar("ViewT", bound=View)

BACKTEST_TIMEOUT_S = 120.0  # thousands of records are folded twice before the answer begins


class WebhookFields(TypedDict, total=False):
    """What a webhook may be told, beside its URL; docs/api.md has the defaults."""

    events: Sequence[str]
    severity: Severity
    project: str | None
    format: Literal["standard", "slack", "discord", "alertmanager"]
    group_wait_s: float


class WebhookChanges(WebhookFields, total=False):
    """What may be changed of a webhook."""

    url: str
    enabled: bool


class Client:
    """A client of one server. Every method raises ServerError where the server refuses or does not answer.

    Example:
        >>> client = Client("http://127.0.0.1:7358")
        >>> client.close()
    """

    def __init__(self, url: str | None = None, api_key: str | None = None, *, timeout_s: float = 30.0) -> None:
        settings = resolve(url=url, api_key=api_key)
        headers = {"authorization": f"Bearer {settings.api_key}"} if settings.api_key else {}
        self.url = settings.url
        self._http = httpx.Client(base_url=settings.url, headers=headers, timeout=timeout_s)

    def projects(self) -> Iterator[Project]:
        """All projects."""
        return self._items("/v1/projects", Project)

    def policy(self, project: str) -> Policy:
        """The thresholds of the detector that are in force in a project."""
        return self._get(_policy_path(project), Policy)

    def set_policy(self, project: str, thresholds: Mapping[str, float]) -> Policy:
        """Replace the thresholds that a project changed; those left out are at their default again."""
        response = self._send("PUT", _policy_path(project), json={"thresholds": dict(thresholds)})
        return Policy.model_validate_json(response.content)

    def backtest(
        self, project: str, thresholds: Mapping[str, float], *, run_ids: Sequence[str] | None = None, limit: int = 20
    ) -> Backtest:
        """What these thresholds would have raised on stored runs, beside those in force; it may take a minute."""
        body = {"project": project, "thresholds": dict(thresholds), "limit": limit}
        body |= {} if run_ids is None else {"run_ids": list(run_ids)}
        response = self._send("POST", "/v1/policy/backtest", json=body, timeout=BACKTEST_TIMEOUT_S)
        return Backtest.model_validate_json(response.content)

    def runs(self, *, project: str | None = None, group: str | None = None, state: str | None = None) -> Iterator[Run]:
        """Runs, newest first; pages are fetched as they are needed."""
        return self._items("/v1/runs", Run, project=project, group=group, state=state)

    def run(self, run_id: str) -> Run:
        """One run."""
        return self._get(f"/v1/runs/{run_id}", Run)

    def layers(self, run_id: str) -> list[Layer]:
        """The layers of a run, those at most risk first."""
        return list(self._items(f"/v1/runs/{run_id}/layers", Layer))

    def overview(self, run_id: str, *, after_step: int | None = None) -> Overview:
        """Everything a page shows of a run, from ``after_step`` on."""
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
        """Statistics of a layer over steps, at most ``points`` of them, extremes kept."""
        return self._get(
            f"/v1/runs/{run_id}/layers/{layer_id}/series",
            Series,
            statistics=",".join(statistics),
            from_step=from_step,
            to_step=to_step,
            points=points,
        )

    def units(self, run_id: str, layer_id: int, *, step: int | None = None) -> Units:
        """Per-unit statistics of the record at or before ``step``; of the latest without one."""
        return self._get(f"/v1/runs/{run_id}/layers/{layer_id}/units", Units, step=step)

    def alerts(
        self,
        *,
        run_id: str | None = None,
        project: str | None = None,
        state: str | None = None,
        severity: str | None = None,
    ) -> Iterator[Alert]:
        """Alerts, newest first."""
        return self._items("/v1/alerts", Alert, run_id=run_id, project=project, state=state, severity=severity)

    def alert(self, alert_id: str) -> TreatedAlert:
        """One alert, with the remedies that were applied to it and what became of each."""
        return self._get(f"/v1/alerts/{alert_id}", TreatedAlert)

    def acknowledge(self, alert_id: str, *, author: str, note: str = "") -> TreatedAlert:
        """Say that somebody is on it. Refused (409 ``alert_acknowledged``) where somebody else already is."""
        return self._act(alert_id, "acknowledge", author, note)

    def resolve(self, alert_id: str, *, author: str, note: str = "") -> TreatedAlert:
        """Close an alert by hand: it returns when the detector raises it anew, or finds it worse."""
        return self._act(alert_id, "resolve", author, note)

    def history(self, alert_id: str) -> Iterator[HistoryEntry]:
        """Every transition of an alert, the oldest first."""
        return self._items(f"/v1/alerts/{alert_id}/history", HistoryEntry)

    def silences(self) -> Iterator[Silence]:
        """Silences, newest first."""
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
        """Let nobody be told of alerts that match, for a time.

        Args:
            matchers: what an alert must have, by name: ``project``, ``run_id``, ``group``, ``name``, ``layer``,
                ``kind``, ``severity``, ``cause``; each equal, or a glob such as ``encoder.*``.
            ends_at: when it ends, with its time zone.
            author: who says so.
            comment: why.
            starts_at: when it begins; now without it.
        """
        body: dict[str, Any] = {"matchers": dict(matchers), "ends_at": ends_at.isoformat(), "author": author}
        body |= {"comment": comment} | ({} if starts_at is None else {"starts_at": starts_at.isoformat()})
        return self._post("/v1/silences", Silence, body)

    def unsilence(self, silence_id: str) -> None:
        """End a silence now; what it held and still fires is told."""
        self._send("DELETE", f"/v1/silences/{silence_id}")

    def webhooks(self) -> Iterator[Webhook]:
        """Receivers of notifications, in the order of their creation."""
        return self._items("/v1/webhooks", Webhook)

    def webhook(self, webhook_id: str) -> Webhook:
        """One receiver, and how it fares."""
        return self._get(f"/v1/webhooks/{webhook_id}", Webhook)

    def create_webhook(self, url: str, **fields: Unpack[WebhookFields]) -> Webhook:
        """Add a receiver; the answer holds its ``secret``, once."""
        return self._post("/v1/webhooks", Webhook, {"url": url, **fields})

    def change_webhook(self, webhook_id: str, **fields: Unpack[WebhookChanges]) -> Webhook:
        """Change what is given; ``project=None`` means every project."""
        response = self._send("PATCH", f"/v1/webhooks/{webhook_id}", json=fields)
        return Webhook.model_validate_json(response.content)

    def delete_webhook(self, webhook_id: str) -> None:
        """Remove a receiver; what waits for it is called off."""
        self._send("DELETE", f"/v1/webhooks/{webhook_id}")

    def test_webhook(self, webhook_id: str) -> Probe:
        """Have a signed ``webhook.test`` sent; ``delivery`` shows what came of it."""
        return self._post(f"/v1/webhooks/{webhook_id}/test", Probe, {})

    def rotate_secret(self, webhook_id: str, *, overlap_s: float = 86_400.0) -> Webhook:
        """Give a receiver a new ``secret``, shown once; older ones sign beside it for ``overlap_s`` seconds."""
        return self._post(f"/v1/webhooks/{webhook_id}/rotate-secret", Webhook, {"overlap_s": overlap_s})

    def deliveries(self, webhook_id: str, *, state: DeliveryState | None = None) -> Iterator[Delivery]:
        """What was sent to a receiver, or is to be, with every attempt; newest first."""
        return self._items(f"/v1/webhooks/{webhook_id}/deliveries", Delivery, state=state)

    def delivery(self, delivery_id: str) -> Delivery:
        """One delivery with its attempts."""
        return self._get(f"/v1/deliveries/{delivery_id}", Delivery)

    def redeliver(self, delivery_id: str) -> Delivery:
        """Send what ended once more, under the same id."""
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

    def _act(self, alert_id: str, what: str, author: str, note: str) -> TreatedAlert:
        response = self._send("POST", f"/v1/alerts/{alert_id}/{what}", json={"author": author, "note": note})
        return TreatedAlert.model_validate_json(response.content)

    def _get(self, path: str, view: type[ViewT], **query: Any) -> ViewT:
        return view.model_validate_json(self._send("GET", path, params=_given(query)).content)

    def _post(self, path: str, view: type[ViewT], body: Mapping[str, Any]) -> ViewT:
        return view.model_validate_json(self._send("POST", path, json=dict(body)).content)

    def _items(self, path: str, view: type[ViewT], **query: Any) -> Iterator[ViewT]:
        cursor: str | None = None
        while True:
            page = self._get(path, Page[dict[str, Any]], cursor=cursor, **query)
            yield from (view.model_validate(item) for item in page.items)
            cursor = page.next_cursor
            if cursor is None:
                return

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            response = self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise ServerError(f"{self.url} does not answer: {error}") from error
        if response.is_success:
            return response
        try:
            problem = Problem.model_validate_json(response.content)
        except ValueError:
            raise ServerError("the answer is none of a Relumine server", status=response.status_code) from None
        raise ServerError(f"{problem.title}: {problem.detail}", status=response.status_code, code=problem.code)


def _policy_path(project: str) -> str:
    return f"/v1/projects/{quote(project, safe='')}/policy"


def _given(query: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in query.items() if value is not None}
