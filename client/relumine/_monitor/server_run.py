"""The run as the server keeps it: under which id, and whether another training uploads to it."""

from __future__ import annotations

import re

from relumine._monitor import messages
from relumine._runtime.log import logger
from relumine.schemas.upload import RunInfo, UploadResponse

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class ServerRun:
    """The id of a run at the server: the one that was sent, unless it belongs to another project there."""

    def __init__(self, run: RunInfo) -> None:
        self.run_id = run.id
        self._label = run.label
        self._is_renamed = False
        self._is_shared = False

    def note_response(self, response: UploadResponse) -> None:
        """Take what an answer says; log each of the two once. Called in the sender thread."""
        run_id = response.run_id or self.run_id
        if run_id != self.run_id and not self._is_renamed and _RUN_ID.fullmatch(run_id):
            self._is_renamed = True
            logger.warning("%s", messages.renamed(self._label, self.run_id, run_id))
            self.run_id = run_id
        if response.is_shared and not self._is_shared:
            self._is_shared = True
            logger.warning("%s", messages.shared(self._label, self.run_id))
