"""Who submits."""

from __future__ import annotations

import os

from benchmarking.files.user import user_name


def person() -> str:
    return f"{user_name()}@{os.uname().nodename}"
