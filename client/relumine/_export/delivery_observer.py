"""The interface by which a delivery reports what became of uploads."""

from __future__ import annotations

from typing import Protocol

from relumine.schemas.upload import UploadResponse


class DeliveryObserver(Protocol):
    """Learns what happens to uploads. Called in the sender thread."""

    def on_response(self, response: UploadResponse) -> None:
        """Note that the server has accepted an upload."""
        ...

    def on_rejected(self) -> None:
        """Note that the server has refused an upload for good."""
        ...

    def on_failed(self) -> None:
        """Note that an upload could not be delivered; it will be tried again."""
        ...

    def on_tick(self) -> None:
        """Do what is due about once per second."""
        ...
