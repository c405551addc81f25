"""``relumine.Client`` has a method for every operation of /v1, and it works against a real server."""

from __future__ import annotations

import re
import sys
import types
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import relumine
from relumine.errors import ServerError
from relumine.schemas import key, retention
from relumine_server.api.routes import projects, session
from relumine_server.app import create_app
from relumine_server.settings import Settings
from tests.helpers.live_server import listening

FOR_BROWSERS = {("POST", "/v1/session"), ("DELETE", "/v1/session")}
"""Log a browser in and out with a cookie; the client sends its key with every request."""


@pytest.fixture
def client(tmp_path):
    with listening(f"sqlite:///{tmp_path / 'x.db'}") as url, relumine.Client(url) as client:
        layers = [{"layer_id": 1, "name": "act1", "units": 4}]
        records = [
            {"layer_id": 1, "first_step": step, "step": step, "n_examples": 100, "active": [0] * 4} for step in range(5)
        ]
        metrics = [{"step": step, "name": "loss", "value": 1.0 / (1 + step)} for step in range(5)]
        body = {"run": {"id": "r1", "project": "a b"}, "session": "s", "seq": 1, "layers": layers, "records": records}
        assert client.upload({**body, "metrics": metrics}).accepted == 5
        yield client


def call_everything(client, tmp_path):
    """Call every method, those that delete last."""
    client.upload(b'{"run": {"id": "r2"}, "session": "s", "seq": 1}')
    list(client.projects())
    client.policy("a b")
    client.set_policy("a b", {})
    client.backtest("a b", {})
    stored = client.retention("a b")
    assert client.set_retention("a b", **stored.model_dump()) == stored
    assert client.session().scope == "admin"
    assert (client.server().runs, client.server().database.kind) == (2, "sqlite")
    assert [run.run_id for run in client.runs(limit=1)] == ["r2"]
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    assert [run.run_id for run in client.runs(died_since=long_ago, status=["running", "stalled"])] == ["r1"]
    assert (client.count_runs(project="a b").total, client.count_runs().total) == (1, 2)
    assert [trace.step for trace in client.run_traces(["r1", "none"])] == [[0, 1, 2, 3, 4]]
    assert client.change_run("r1", name="new", tags=["x"]).tags == ["x"]
    assert client.run("r1").name == "new"
    client.layers("r1")
    client.overview("r1")
    client.series("r1", 1, ["active_rate"])
    client.units("r1", 1)
    assert client.unit_table("r1", 1, state=["born_dead", "dead"]).matched == 4
    client.export_units("r1", 1, tmp_path / "units.csv")
    assert (tmp_path / "units.csv").read_text().splitlines()[1] == "0,born_dead,0.0,,,,,,,"
    assert client.unit_map("r1", 1, points=2, sort="last_active").step == [0, 4]
    assert [point.step for point in client.logged_metrics("r1")["loss"]] == [0, 1, 2, 3, 4]
    client.export("r1", tmp_path / "r1.csv")
    assert (tmp_path / "r1.csv").read_text().startswith("layer_id,layer,step,statistic,value\n1,act1,")
    call_alerts(client)
    call_webhooks(client)
    client.delete_run("r1")
    with pytest.raises(ServerError, match="No such run"):
        client.run("r1")
    client.create_key("admin")


def call_alerts(client):
    (incident,) = client.incidents(state="open")
    assert (incident.alert_count, incident.layers[0].layer) == (1, "act1")
    assert client.incident(incident.id) == incident
    assert client.acknowledge_incident(incident.id, author="me").layers[0].state == "acknowledged"
    alert = next(client.alerts(since=datetime.now(UTC) - timedelta(hours=1)))
    client.alert(alert.id)
    list(client.events(alert.id))
    client.acknowledge(alert.id, author="me")
    client.resolve(alert.id, author="me")
    with pytest.raises(ServerError, match="No alert of the incident is open"):
        client.resolve_incident(incident.id, author="me")
    silence = client.silence({"layer": "x"}, ends_at=datetime.now(UTC) + timedelta(hours=1), author="me")
    list(client.silences())
    client.unsilence(silence.silence_id)


def call_webhooks(client):
    webhook = client.create_webhook("https://example.org/hook").webhook_id
    list(client.webhooks())
    client.webhook(webhook)
    client.change_webhook(webhook, min_severity="critical")
    client.rotate_secret(webhook)
    delivery = client.test_webhook(webhook).delivery_id
    list(client.deliveries(webhook))
    client.delivery(delivery)
    client.redeliver(delivery)
    client.delete_webhook(webhook)


def test_there_is_a_method_for_every_operation(client, tmp_path, monkeypatch):
    requested = set()
    stream = client._http.stream

    def record(method, path, **options):
        requested.add((method, path.partition("?")[0]))
        return stream(method, path, **options)

    monkeypatch.setattr(client._http, "stream", record)
    call_everything(client, tmp_path)
    secret = relumine.Client(client.url)
    with secret, pytest.raises(ServerError) as refused:
        list(secret.keys())
    assert refused.value.code == "key_missing"
    requested |= {("GET", "/v1/keys"), ("DELETE", "/v1/keys/x")}  # covered by the next test, with a key
    app = create_app(Settings(database_url=f"sqlite:///{tmp_path / 'y.db'}"))
    missing = []
    for path, operations in app.openapi()["paths"].items():
        pattern = re.compile(re.sub(r"\{\w+\}", "[^/]+", path))
        for method in operations:
            operation = (method.upper(), path)
            is_requested = any(verb == operation[0] and pattern.fullmatch(to) for verb, to in requested)
            if path.startswith("/v1/") and operation not in FOR_BROWSERS and not is_requested:
                missing.append(operation)
    app.state.services.database.close()
    assert missing == []


def test_every_method_is_documented():
    page = (Path(__file__).parents[3] / "docs/client.md").read_text(encoding="utf-8")
    methods = [name for name in dir(relumine.Client) if not name.startswith("_") and name != "close"]
    assert [name for name in methods if f"\n### `{name}`\n" not in page] == []


def test_keys_are_created_listed_and_revoked(client):
    admin = client.create_key("admin", name="first")
    with relumine.Client(client.url, admin.key) as owner:
        expires_at = datetime.now(UTC) + timedelta(days=1)
        reading = owner.create_key("read", project="a b", expires_at=expires_at)
        listed = list(owner.keys())
        assert [(item.scope, item.key) for item in listed] == [("admin", None), ("read", None)]
        with relumine.Client(client.url, reading.key) as reader:
            current = reader.session()
            assert (current.needed, current.scope, current.project) == (True, "read", "a b")
        owner.revoke_key(reading.key_id)
        listed = list(owner.keys())
        assert [item.revoked_at is None for item in listed] == [True, False]
        assert owner.create_key("write").scope == "write"


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (key.CurrentSession, session.CurrentSession),
        (retention.RetentionSettings, projects.RetentionSettings),
    ],
)
def test_models_of_the_client_have_the_fields_of_the_server(ours, theirs):
    assert set(ours.model_fields) == set(theirs.model_fields)


def test_an_export_that_fails_leaves_no_file_and_replaces_none(client, tmp_path):
    path = tmp_path / "x.csv"
    with pytest.raises(ServerError, match="No such run"):
        client.export("nothing", path)
    assert not path.exists()
    path.write_text("mine")
    with pytest.raises(FileExistsError):
        client.export("r1", path)
    assert path.read_text() == "mine"


def test_without_pandas_the_frame_says_what_to_install(client, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pip install pandas"):
        client.series_frame("r1", 1, ["active_rate"])


def test_with_pandas_a_series_is_a_frame_with_steps_as_its_index(client, monkeypatch):
    pandas = types.ModuleType("pandas")
    pandas.Index = lambda values, name: (name, values)
    pandas.DataFrame = lambda columns, index, dtype: (columns, index, dtype)
    monkeypatch.setitem(sys.modules, "pandas", pandas)
    columns, index, _ = client.series_frame("r1", 1, ["active_rate"])
    series = client.series("r1", 1, ["active_rate"])
    assert index == ("step", series.step)
    assert list(columns) == ["active_rate", "active_rate_min", "active_rate_max"]
    assert columns["active_rate"] == series.statistics["active_rate"].last
