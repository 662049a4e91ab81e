"""Adb over USB, with adb-shell and libusb. The only user of both."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any

from benchmarking.platforms.android.adb import Patience

logger = logging.getLogger(__name__)

_STEP_S = 0.5
"""After this time without data, it is checked whether to keep waiting."""


def serials() -> list[str] | None:
    """The serial numbers of the devices on USB that offer adb; None if USB cannot be used at all."""
    try:
        import usb1
        from adb_shell.transport.usb_transport import UsbTransport
    except (ImportError, OSError):
        return None
    found = []
    try:
        for one in UsbTransport.find_all_adb_devices():
            with suppress(usb1.USBError):
                found.append(one.serial_number)
    except usb1.USBError as error:
        logger.debug("USB cannot be read: %s", error)
        return None
    return sorted(found)


def transport(serial: str) -> Any:
    import usb1
    from adb_shell.exceptions import UsbReadFailedError
    from adb_shell.transport.base_transport import BaseTransport
    from adb_shell.transport.usb_transport import UsbTransport

    class PatientUsbTransport(BaseTransport):  # type: ignore[misc]
        """Reads in steps, so that a wait can be cancelled."""

        patience = Patience()

        def connect(self, transport_timeout_s: float | None) -> None:
            self._usb = UsbTransport.find_adb(serial=serial)
            self._usb.connect(transport_timeout_s)

        def close(self) -> None:
            if hasattr(self, "_usb"):
                self._usb.close()

        def bulk_read(self, numbytes: int, transport_timeout_s: float | None) -> bytes:
            while True:
                try:
                    data: bytes = self._usb.bulk_read(numbytes, _STEP_S)
                except UsbReadFailedError as error:
                    if not isinstance(error.usb_error, usb1.USBErrorTimeout):
                        raise
                    data = bytes(getattr(error.usb_error, "received", b""))
                self.patience.check_time(renew=bool(data))
                if data:
                    return data

        def bulk_write(self, data: bytes, transport_timeout_s: float | None) -> int:
            self.patience.check_time(renew=True)
            written: int = self._usb.bulk_write(data, self.patience.limit_s)
            return written

    return PatientUsbTransport()
