"""Small uploads take precedence over large ones: for the interpreter, the memory, and the only writer of SQLite."""

from __future__ import annotations

import asyncio
import threading
import tracemalloc
from types import SimpleNamespace

import pytest

from relumine.schemas.upload import Upload
from relumine_server.api.request_body import count_values
from relumine_server.errors import InvalidUpload
from relumine_server.ingest import large_uploads, precedence
from relumine_server.ingest.large_uploads import (
    LARGE_BODY_BYTES,
    LARGE_RECORDS,
    MAX_REST_S,
    LargeUploads,
    has_many_records,
)
from relumine_server.ingest.precedence import Precedence
from relumine_server.ingest.service import IngestService
from tests.chaos.large_uploads import large_body

RECORDS = 700
TIMEOUT_S = 30


@pytest.fixture
def pause_always(monkeypatch):
    """Let every pause wait for small uploads, and for as long as it takes."""
    monkeypatch.setattr(precedence, "SLICE_S", 0.0)
    monkeypatch.setattr(precedence, "MAX_PAUSE_S", TIMEOUT_S)


@pytest.mark.usefixtures("pause_always")
def test_long_work_pauses_until_no_small_upload_is_in_progress():
    small = Precedence()
    pause = small.pauses()
    pause()
    passed = threading.Event()
    with small.small_upload(), small.small_upload():
        thread = threading.Thread(target=lambda: (pause(), passed.set()))
        thread.start()
        assert not passed.wait(0.05)
    assert passed.wait(TIMEOUT_S)
    thread.join()


def test_a_pause_ends_however_many_small_uploads_come(monkeypatch):
    monkeypatch.setattr(precedence, "SLICE_S", 0.0)
    monkeypatch.setattr(precedence, "MAX_PAUSE_S", 0.001)
    small = Precedence()
    with small.small_upload():
        small.pauses()()


def test_decoding_analysis_and_encoding_of_a_large_upload_pause_at_each_record(app, call, monkeypatch):
    pauses = []
    monkeypatch.setattr(app.state.services.large_uploads.precedence, "pauses", lambda: lambda: pauses.append(1))
    assert call("POST", "/v1/uploads", content=large_body("r1", 0, RECORDS)).json()["accepted"] == RECORDS
    assert len(pauses) == 3 * RECORDS


@pytest.mark.parametrize("is_packed", [False, True])
def test_an_upload_of_many_records_is_not_analyzed_in_a_transaction_however_small_its_body_is(
    app, call, monkeypatch, is_packed
):
    prepared = []
    prepare = IngestService.prepare

    def watched(self, *arguments, **options):
        prepared.append(1)
        return prepare(self, *arguments, **options)

    monkeypatch.setattr(IngestService, "prepare", watched)
    body = large_body("r1", 0, LARGE_RECORDS + 1)
    if is_packed:
        body = Upload.model_validate_json(body).model_dump_json(exclude_none=True).encode()
    assert len(body) < LARGE_BODY_BYTES
    assert call("POST", "/v1/uploads", content=body).json()["accepted"] == LARGE_RECORDS + 1
    assert prepared == [1]


def test_a_small_upload_pauses_nowhere_and_is_in_progress_until_it_is_stored(app, call, monkeypatch):
    services = app.state.services
    in_progress = []
    monkeypatch.setattr(
        services.large_uploads.precedence, "pauses", lambda: in_progress.append
    )  # called without an argument it fails
    write_soon = services.database.write_soon

    async def watched(write):
        result = await write_soon(write)
        in_progress.append(services.large_uploads.precedence.is_busy)
        return result

    monkeypatch.setattr(services.database, "write_soon", watched)
    assert call("POST", "/v1/uploads", content=large_body("r1", 0, 5)).status_code == 202
    assert in_progress == [True]
    assert not services.large_uploads.precedence.is_busy


def test_a_body_of_many_records_is_known_as_large_before_it_is_decoded():
    for records in (LARGE_RECORDS + 1, 20):
        body = large_body("r1", 0, records)
        values = count_values(body, 10**6)
        assert has_many_records(body, values) == (records > LARGE_RECORDS)


def test_a_large_upload_that_waits_for_its_turn_is_not_decoded(app):
    uploads = app.state.services.large_uploads
    decoded = []

    def decode(_pause):
        decoded.append(1)
        raise InvalidUpload("its turn came")

    async def run():
        async with uploads._turns.turn("first"):
            waiting = asyncio.create_task(uploads.ingest(decode, "second", is_replayed=False))
            for _ in range(10):
                await asyncio.sleep(0)
            assert not decoded
        with pytest.raises(InvalidUpload):
            await waiting

    asyncio.run(run())
    assert decoded == [1]


def test_decoding_single_records_takes_a_kilobyte_each_and_not_a_model_each():
    body = large_body("r1", 0, 4_000)
    Upload.model_validate_json(large_body("r1", 0, 2))
    tracemalloc.start()
    try:
        upload = Upload.model_validate_json(body)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes / len(upload.records) < 1_500


class SlowDatabase:
    """A database whose writes take a second of a clock that is moved by hand; sleeping moves it, too.

    ``cpu_s`` is the processor time of a write.
    """

    def __init__(self, monkeypatch, *, is_exclusive, cpu_s=1.0):
        self.is_exclusive = is_exclusive
        self.now = 100.0
        self.slept = 0.0
        self.used = 0.0
        self.cpu_s = cpu_s
        clock = SimpleNamespace(monotonic=lambda: self.now, thread_time=lambda: self.used)
        monkeypatch.setattr(large_uploads, "time", clock)
        monkeypatch.setattr(precedence, "time", clock)
        monkeypatch.setattr(large_uploads.asyncio, "sleep", self.sleep)
        self.uploads = LargeUploads(self, self, lambda: None)

    async def write_soon(self, write):
        write(None)

    def ingest(self, *_arguments, **_options):
        self.now += 1.0
        self.used += self.cpu_s

    async def sleep(self, seconds):
        self.slept += seconds
        self.now += seconds
        with self.uploads.precedence.small_upload():
            pass

    def rest_between_two(self, *, small_uploads):
        async def run():
            await self.uploads._store(None, None, is_replayed=False)
            if small_uploads:
                with self.uploads.precedence.small_upload():
                    pass
            await self.uploads._rest()

        asyncio.run(run())
        return self.slept


def test_beside_small_uploads_large_ones_have_the_only_writer_of_sqlite_for_a_share_of_the_time(monkeypatch):
    assert SlowDatabase(monkeypatch, is_exclusive=True).rest_between_two(small_uploads=True) == pytest.approx(
        MAX_REST_S
    )


def test_a_transaction_as_short_as_that_of_a_small_upload_leads_to_no_rest_however_busy_the_machine_is(monkeypatch):
    database = SlowDatabase(monkeypatch, is_exclusive=True, cpu_s=0.001)
    assert database.rest_between_two(small_uploads=True) == 0


def test_large_uploads_follow_each_other_where_there_are_no_small_ones(monkeypatch):
    assert SlowDatabase(monkeypatch, is_exclusive=True).rest_between_two(small_uploads=False) == 0


def test_large_uploads_follow_each_other_where_the_database_has_several_writers(monkeypatch):
    assert SlowDatabase(monkeypatch, is_exclusive=False).rest_between_two(small_uploads=True) == 0
