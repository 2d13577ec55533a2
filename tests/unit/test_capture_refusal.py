"""What PostgreSQL says when it will not replicate, in the words of its versions, and what the user is told to do."""

from __future__ import annotations

import psycopg
import pytest

from rainbow.errors import ServiceError
from streaming.capture.slot import refusal

CONNECTION = 'connection failed: connection to server at "127.0.0.1", port 5432 failed: FATAL:  '


@pytest.mark.parametrize(
    ("said", "told"),
    [
        # 16 and later, then 15
        (
            "permission denied to start WAL sender\nDETAIL:  Only roles with the REPLICATION attribute may start one.",
            "alter role ann replication",
        ),
        ('query would be affected by row-level security policy for table "brands"', "alter role ann bypassrls"),
        ("must be superuser or replication role to start walsender", "alter role ann replication"),
        ('password authentication failed for user "ann"', "does not let us in"),
        ('role "ann" is not permitted to log in', "does not let us in"),
        ("number of requested standby connections exceeds max_wal_senders (currently 1)", "raise max_wal_senders"),
    ],
)
def test_a_connection_that_will_never_be_let_in_is_given_up_with_what_to_do(said: str, told: str) -> None:
    refused = refusal(psycopg.OperationalError(CONNECTION + said), "ann")
    assert isinstance(refused, ServiceError)
    assert told in str(refused)
    assert "FATAL" not in str(refused)


@pytest.mark.parametrize("said", ["the database system is starting up", "sorry, too many clients already", "terminating connection"])
def test_what_may_pass_by_itself_is_tried_again(said: str) -> None:
    assert refusal(psycopg.OperationalError(CONNECTION + said), "ann") is None
