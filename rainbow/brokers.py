"""How clients get in at Kafka's brokers: what the settings say of TLS and passwords, in librdkafka's names and in kafka-python's.

It is for brokers that the settings name; those that the stack starts ask nothing.
"""

from __future__ import annotations

from typing import Any

from rainbow.errors import ServiceError
from rainbow.settings import Settings, read_settings

# librdkafka's names (https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md), and those of kafka-python's clients
_PYTHONS = {
    "security.protocol": "security_protocol",
    "sasl.mechanism": "sasl_mechanism",
    "sasl.username": "sasl_plain_username",
    "sasl.password": "sasl_plain_password",
    "ssl.ca.location": "ssl_cafile",
}


def access() -> dict[str, str]:
    """Options of a client, in librdkafka's names; none where the brokers ask nothing."""
    named = read_settings(with_stack=False)
    return _access(named) if named.kafka_servers else {}


def _access(named: Settings) -> dict[str, str]:
    options = {}
    if named.kafka_tls or named.kafka_user:
        options["security.protocol"] = f"{'SASL_' if named.kafka_user else ''}{'SSL' if named.kafka_tls else 'PLAINTEXT'}"
    if named.kafka_user:
        options["sasl.mechanism"] = named.kafka_mechanism
        options["sasl.username"] = named.kafka_user
        options["sasl.password"] = named.kafka_password.get_secret_value() if named.kafka_password else ""
    if named.kafka_tls and named.kafka_ca_file:
        options["ssl.ca.location"] = str(named.kafka_ca_file)
    return options


def count(servers: str) -> int:
    """How many brokers the cluster has, ``servers`` being some of them; raises ServiceError when none of these lets us in."""
    from kafka import KafkaAdminClient
    from kafka.errors import KafkaError

    options: dict[str, Any] = {_PYTHONS[name]: value for name, value in access().items()}
    try:
        client = KafkaAdminClient(bootstrap_servers=servers.split(","), bootstrap_timeout_ms=5_000, request_timeout_ms=10_000, **options)
        try:
            return len(client.describe_cluster()["brokers"])
        finally:
            client.close()
    except (KafkaError, OSError) as error:
        asked = (
            "; what its brokers ask for is in the settings RAINBOW_KAFKA_TLS, _CA_FILE, _USER, _PASSWORD and _MECHANISM" if options else ""
        )
        raise ServiceError(f"kafka does not let us in at {servers}: {error}{asked}") from error
