"""Kafka's brokers that ask for TLS and a password, as those of a cluster do: by settings alone."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaException
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from rainbow import brokers, stack
from rainbow.errors import ServiceError
from rainbow.settings import Settings, settings
from rainbow.stack import doctor, kafka
from streaming import topics
from streaming.clients import administrator, consumer, producer
from tests.conftest import _folder as a_folder
from tests.conftest import _settings_of as settings_of

pytestmark = [
    pytest.mark.services,
    # kafka-python reads its own files in a way that Python is giving up
    pytest.mark.filterwarnings("ignore:(read_text|open_text) is deprecated:DeprecationWarning"),
]

LOGIN = 'org.apache.kafka.common.security.plain.PlainLoginModule required user_rainbow="s3cret";'


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a certificate of the loopback's, signed by itself; its key is beside it."""
    made = tmp_path_factory.mktemp("tls") / "certificate.pem"
    key, now = rsa.generate_private_key(65537, 2048), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "rainbow")])
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - timedelta(days=1), now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=False)
        .sign(key, hashes.SHA256())
    )
    made.write_bytes(signed.public_bytes(Encoding.PEM))
    made.with_name("key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return made


@pytest.fixture(scope="module")
def guarded(certificate: Path, kafka_jars: Path) -> Iterator[Settings]:
    """A broker that has, beside the open listener of the stack's, one that asks for TLS and a password; the settings name that one."""
    configuration = kafka.configuration
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        servers = f"127.0.0.1:{probe.getsockname()[1]}"

    def with_a_guard(ports: Sequence[int], number: int) -> dict[str, str]:
        made = configuration(ports, number)
        return made | {
            "listeners": f"{made['listeners']},GUARDED://{servers}",
            "advertised.listeners": f"{made['advertised.listeners']},GUARDED://{servers}",
            "listener.security.protocol.map": f"{made['listener.security.protocol.map']},GUARDED:SASL_SSL",
            "listener.name.guarded.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.guarded.plain.sasl.jaas.config": LOGIN,
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(_keystore(certificate)),
        }

    with pytest.MonkeyPatch.context() as patch, a_folder() as home, settings_of(home, kafka_jars=str(kafka_jars)):
        patch.setattr(kafka, "configuration", with_a_guard)
        try:
            stack.up(["kafka"])
            with named(home, servers, certificate):
                yield settings()
        finally:
            stack.down()


def _keystore(certificate: Path) -> Path:
    both = certificate.with_name("keystore.pem")
    both.write_text(certificate.with_name("key.pem").read_text() + certificate.read_text())
    return both


def named(home: Path, servers: str, certificate: Path, **others: str) -> Any:
    access = {"kafka_tls": "true", "kafka_ca_file": str(certificate), "kafka_user": "rainbow", "kafka_password": "s3cret"}
    return settings_of(home, kafka_servers=servers, **{**access, "kafka_mechanism": "PLAIN", **others})


def test_records_come_and_go(guarded: Settings) -> None:
    topic = topics.topic_of("brands")
    topics.create([topic], administrator())
    failed: list[Any] = []
    sender = producer(lambda error, _: failed.append(error))
    sender.produce(topic, b"value", b"key")
    assert sender.flush(20) == 0
    assert failed == []
    reader = consumer("readers")
    reader.subscribe([topic])
    (message,) = reader.consume(1, 20)
    assert (message.key(), message.value()) == (b"key", b"value")
    reader.close()


def test_doctor_and_status_get_in(guarded: Settings) -> None:
    kafka.check(guarded.url_of("kafka"))
    assert doctor.kafka().text == f"1 broker at {guarded.url_of('kafka')}"


def test_another_password_is_refused_and_not_printed(guarded: Settings, certificate: Path) -> None:
    with named(guarded.home, guarded.url_of("kafka"), certificate, kafka_password="guess"):
        with pytest.raises(ServiceError, match=r"kafka does not let us in at 127\.0\.0\.1:.* RAINBOW_KAFKA_TLS") as refused:
            kafka.check(settings().url_of("kafka"))
        assert "guess" not in str(refused.value)
        assert settings().without_secrets("password guess") == "password ***"
        with pytest.raises(KafkaException):
            administrator().list_topics(timeout=3)


def test_without_what_they_ask_for_the_settings_are_named(guarded: Settings, certificate: Path) -> None:
    with settings_of(guarded.home, kafka_servers=guarded.url_of("kafka"), kafka_tls="", kafka_user=""):
        assert brokers.access() == {}
        with pytest.raises(ServiceError, match="see RAINBOW_KAFKA_TLS and RAINBOW_KAFKA_USER"):
            kafka.check(settings().url_of("kafka"))


def test_the_stacks_own_brokers_are_asked_nothing(guarded: Settings, certificate: Path) -> None:
    with named(guarded.home, "", certificate):
        assert brokers.access() == {}
