"""The local Apache Kafka: by pip alone, safe through kill -9."""

from __future__ import annotations

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from rainbow.settings import Settings, settings

pytestmark = pytest.mark.services


def test_the_fixture_gives_settings_that_name_postgres_clickhouse_and_kafka(stream_stack: Settings) -> None:
    assert all(stream_stack.url_of(name) for name in ("postgres", "clickhouse", "kafka"))
    assert stream_stack.bigquery_url is None
    assert settings().kafka_servers == stream_stack.kafka_servers


def test_a_topic_takes_a_record(stream_stack: Settings) -> None:
    admin = AdminClient({"bootstrap.servers": stream_stack.url_of("kafka")})
    admin.create_topics([NewTopic("takes-a-record", num_partitions=3)])["takes-a-record"].result(10)
    offsets: list[int] = []
    producer = Producer({"bootstrap.servers": stream_stack.url_of("kafka"), "acks": "all"})
    producer.produce("takes-a-record", b"value", b"key", on_delivery=lambda error, message: offsets.append(message.offset()))
    producer.flush(10)
    assert offsets == [0]
