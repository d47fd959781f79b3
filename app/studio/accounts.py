"""Who may come in: a file of users, passwords kept as scrypt hashes, signed cookies, and a brake on guessing."""

import hashlib
import hmac
import json
import os
import secrets
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.projects import USER
from data.errors import InputError
from data.files import atomic_write, write_json

LOCAL = "local"
"""The user where nobody logs in."""
COOKIE = "lumigraph"
LASTS = 14 * 86_400.0
"""Seconds that a login lasts."""
_COST = {"n": 2**15, "r": 8, "p": 1}
_LEAST = 10
"""Characters of a password, at least."""


class Accounts:
    """The users of a file; read anew when it changes."""

    def __init__(self, path: Path, secret: bytes) -> None:
        self.path, self._secret = path.expanduser(), secret
        self._lock, self._read, self._users = threading.Lock(), 0.0, dict[str, dict[str, Any]]()
        if not self.users():
            raise InputError(f"'{self.path}' holds no users. Add one: lumigraph studio --users {self.path} --add-user NAME")

    def users(self) -> dict[str, dict[str, Any]]:
        with self._lock:
            try:
                changed = self.path.stat().st_mtime
                if changed != self._read:
                    self._users, self._read = json.loads(self.path.read_text())["users"], changed
            except (OSError, ValueError, KeyError, TypeError):
                self._users = {}
            return self._users

    def right(self, name: str, password: str) -> bool:
        """Whether that is the user's password; takes as long for users who do not exist."""
        known = self.users().get(name)
        record = known or {"salt": "00" * 16, "hash": "00" * 32}
        given = _hashed(password[:1000], bytes.fromhex(record["salt"]))
        return hmac.compare_digest(given, bytes.fromhex(record["hash"])) and known is not None

    def token(self, name: str) -> str:
        """A cookie that says who somebody is, until it expires or their password changes."""
        until = f"{int(time.time() + LASTS)}"
        return f"{name}.{until}.{secrets.token_hex(4)}." + self._signed(name, f"{until}")

    def who(self, token: str | None) -> str | None:
        """Whose cookie this is, or None."""
        parts = (token or "").split(".")
        if len(parts) != 4 or not USER.fullmatch(parts[0]) or parts[0] not in self.users() or not parts[1].isdigit():
            return None
        good = hmac.compare_digest(parts[3], self._signed(parts[0], parts[1]))
        return parts[0] if good and int(parts[1]) > time.time() else None

    def _signed(self, name: str, until: str) -> str:
        password = self.users().get(name, {}).get("hash", "")
        return hmac.new(self._secret, f"{name} {until} {password}".encode(), hashlib.sha256).hexdigest()


def add_user(path: Path, name: str, password: str) -> None:
    """Add a user to the file, or change their password.

    Raises:
        InputError: the name or the password cannot be used.
    """
    if not USER.fullmatch(name) or name == LOCAL:
        raise InputError(f"'{name}' cannot be a user's name. Use up to 32 lower-case letters, digits, - and _ (but not '{LOCAL}').")
    if len(password) < _LEAST:
        raise InputError(f"The password has {len(password)} characters. Choose one of {_LEAST} or more.")
    path = path.expanduser()
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        content = {"users": {}}
    except ValueError as error:
        raise InputError(f"'{path}' is no file of users ({error}). Choose another.") from None
    salt = secrets.token_bytes(16)
    content["users"][name] = {"salt": salt.hex(), "hash": _hashed(password, salt).hex()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, content)
    os.chmod(path, 0o600)


def secret_of(root: Path) -> bytes:
    """The key that cookies are signed with; made once, so that a restart logs nobody out."""
    path = root / ".secret"
    if not path.exists():
        atomic_write(path, secrets.token_bytes(32))
        os.chmod(path, 0o600)
    return path.read_bytes()


def _hashed(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, maxmem=2**26, dklen=32, **_COST)


@dataclass
class Brake:
    """After a few wrong passwords an address, and a name, have to wait: twice as long each time."""

    free: int = 5
    longest: float = 900.0
    _wrong: dict[str, tuple[int, float]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def wait(self, *keys: str) -> float:
        """Seconds until the next try is allowed."""
        now = time.monotonic()
        with self._lock:
            return max((max(self._wrong[k][1] - now, 0.0) for k in keys if k in self._wrong), default=0.0)

    def wrong(self, *keys: str) -> None:
        now = time.monotonic()
        with self._lock:
            for key in keys:
                count = self._wrong.get(key, (0, 0.0))[0] + 1
                pause = min(2.0 ** (count - self.free), self.longest) if count >= self.free else 0.0
                self._wrong[key] = (count, now + pause)
            if len(self._wrong) > 10_000:  # whoever fills this has many addresses; the oldest are forgotten
                for key in sorted(self._wrong, key=lambda k: self._wrong[k][1])[:5000]:
                    del self._wrong[key]

    def right(self, *keys: str) -> None:
        with self._lock:
            for key in keys:
                self._wrong.pop(key, None)
