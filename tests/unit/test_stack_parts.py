"""The stack's small parts: URLs, ports, files."""

from __future__ import annotations

import socket
import stat
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rainbow.errors import RainbowError, ServiceError
from rainbow.settings import Settings
from rainbow.stack import ports
from rainbow.stack.control import SERVICES
from rainbow.stack.place import Place, locked, write_private
from rainbow.stack.service import masked


@given(st.text(min_size=1, alphabet=st.characters(exclude_categories=["Cs", "Cc"])))
def test_a_url_holds_any_password_and_its_mask_none(password: str) -> None:
    for service in (service for service in SERVICES.values() if service.has_password):
        url = service.url([1234], password)
        assert unquote(urlsplit(url).password or "") == password
        assert urlsplit(masked(url)).password == "***"
        assert urlsplit(masked(url)).port == 1234


def test_a_url_without_a_password_is_its_own_mask() -> None:
    assert masked("https://bigquery.googleapis.com") == "https://bigquery.googleapis.com"


def test_settings_hide_their_passwords_in_any_text() -> None:
    known = Settings(postgres_url="postgresql://u:p%40ss@h/d", clickhouse_url="http://u:other@h")
    assert known.without_secrets("p%40ss and p@ss and other and u") == "*** and *** and *** and u"


def test_a_port_is_the_wanted_one_or_the_remembered_one_or_any() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServiceError, match=f"port {port} is taken; set RAINBOW_POSTGRES_PORT"):
            ports.choose("postgres", port, None)
        chosen = ports.choose("postgres", 0, port)
        assert chosen != port
        assert chosen in ports.CHOICE
    assert ports.choose("postgres", 0, chosen) == chosen
    assert ports.choose("postgres", chosen, None) == chosen


def test_a_private_file_is_replaced_whole_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, "new")
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_password_is_made_once(tmp_path: Path) -> None:
    place = Place(tmp_path)
    assert [place.make_password(), place.make_password()] == [True, False]
    assert len(place.password()) >= 32


def test_a_log_is_put_aside_when_it_has_grown(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.log.write_text("a line\n" * 10)
    place.turn_log()
    assert place.last_lines(3) == ["a line"] * 3
    place.log.write_bytes(b"x" * 10_000_001)
    place.turn_log()
    assert not place.log.exists()
    assert (tmp_path / "log.1").exists()


def test_a_home_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(RainbowError, match="another `rainbow up`"), locked(tmp_path, patience=0.1):
        pass
    with locked(tmp_path, patience=0.1):
        pass
