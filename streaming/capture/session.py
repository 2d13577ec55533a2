"""One connection's life: make ready what is needed, take the snapshots that are missing, then stream."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from rainbow.errors import ServiceError
from streaming import clients, topics
from streaming.capture import catalog, notes, sent, slot, snapshot, wire
from streaming.capture.catalog import Published, Standing
from streaming.capture.changes import Changes
from streaming.capture.notes import Note
from streaming.capture.outbox import Outbox
from streaming.capture.pgoutput import Relation
from streaming.capture.slot import SLOT, Slot
from streaming.capture.state import State
from streaming.capture.stream import Stream
from streaming.events import Field, Shape, topic_of

Say = Callable[[str], None]

# seconds that making a slot takes at most when nothing is in its way
_LONG = 3.0
# seconds after which a topic that is missing is taken for gone
_NOT_THERE = 3.0


class Session:
    """One connection's life; ``follow`` is all of it.

    ``patience``: seconds to wait for the lock that another capture holds, and for a slot that somebody else reads from.
    """

    def __init__(self, url: str, outbox: Outbox, state: State, say: Say, warn: Say, patience: tuple[float, float]) -> None:
        self._url, self._outbox, self._state, self._say, self._warn, self._patience = url, outbox, state, say, warn, patience
        self._partitions: dict[str, int] = {}
        self._tables: dict[str, int] = {}
        self._stream: Stream | None = None
        self._side = wire.connect(url)
        self._admin = clients.administrator()

    def follow(self) -> None:
        """Stream until the stop is asked for, or a table's rows have to be read first, which the next session does.

        Raises psycopg.Error and KafkaException for what ended it otherwise, RainbowError for what a user has to put right.
        """
        with self._side:
            state, side = self._state, self._side
            catalog.check_server(side)
            slot.lock(side, state.side, self._patience[0], state.check)
            state.side = side.info.backend_pid
            self._partitions = topics.create([topics.CAPTURE, topics.DEAD_LETTERS], self._admin)
            note = self._still_right(notes.read(state.check))
            catalog.publish(side, self._say, self._warn)
            standing = catalog.standing(side)
            tables = catalog.published(side, self._warn)
            self._partitions |= topics.create([table.shape.topic for table in tables], self._admin)
            found = slot.claim(side, state.process, self._patience[1], state.check)
            replication = wire.Replication(self._url)
            try:
                state.process = replication.process
                server = replication.identify(state.check)
                self._refuse_earlier(server)
                note = self._catch_up(replication, note, found, server, standing.publication, tables)
                self._tables = note.tables
                self._follow(replication, server, standing)
            finally:
                self._state.phase = "waiting"
                replication.close()

    # what Changes asks of its catalogue

    def shape_of(self, relation: Relation) -> Shape:
        """The columns of a table that has changes, with their types, and its key."""
        names = tuple(column.name for column in relation.columns)
        flagged = tuple(column.name for column in relation.columns if column.identity)
        primary = catalog.primary_key(self._side, relation.id)
        bases = catalog.domains(self._side)
        name = f"{relation.schema}.{relation.table}"
        if self._tables.get(name) != relation.id and relation.id not in self._state.met and self._stream:
            self._state.met.add(relation.id)
            self._stream.leave = True
        fields = tuple(Field(column.name, catalog.base_of(bases, column.type)) for column in relation.columns)
        key = catalog.key_of(relation.schema, relation.table, relation.identity, names, primary, flagged)
        return Shape(relation.schema, relation.table, fields, key)

    def partitions_of(self, shape: Shape) -> int:
        """The partitions of its topic, which is made if it is not there."""
        if shape.topic not in self._partitions:
            self._partitions |= topics.create([shape.topic], self._admin)
        return self._partitions[shape.topic]

    def _still_right(self, note: Note | None) -> Note | None:
        """The note without the tables that are to be read anew: they left the publication, even for a time, or their topic is gone.

        It is noted before anything is made again, or nobody would know of it after a crash.
        """
        if note is None:
            return None
        there = self._there({topic_of(*name.split(".", 1)) for name in note.tables})
        now = {name: (id_, member) for name, id_, member in catalog.standing(self._side).members}
        tables = {
            name: id_
            for name, id_ in note.tables.items()
            if name in now and now[name] == (id_, note.members.get(name, now[name][1])) and topic_of(*name.split(".", 1)) in there
        }
        return note if tables == note.tables else self._noted(replace(note, tables=tables))

    def _there(self, wanted: set[str]) -> set[str]:
        """Which of these topics there are; one that is missing is looked for again, since a broker that has just come back may not know it yet."""
        until = time.monotonic() + _NOT_THERE
        while True:
            there = wanted & self._admin.list_topics(timeout=5).topics.keys()
            if there == wanted or time.monotonic() > until:
                return there
            self._state.check()
            time.sleep(0.2)

    def _catch_up(
        self,
        replication: wire.Replication,
        note: Note | None,
        found: Slot | None,
        server: wire.Server,
        publication: int,
        tables: Sequence[Published],
    ) -> Note:
        """Take the snapshots that are missing; the note of all that are complete."""
        database = self._side.info.dbname
        if note is None or (reason := _why_anew(note, found, server, database, publication)):
            self._say(f"snapshot of {len(tables)} tables: {reason if note else 'there is none yet'}")
            if note:
                # or it would be taken for that of the new slot, should its snapshot not come to its end
                self._noted(replace(note, done=False))
            slot.drop(self._side)
            self._state.confirmed = 0
            position = self._snapshot(replication, SLOT, tables)
            made = Note(SLOT, position.lsn, position.txid, server.system, database, publication, *_ids(tables))
            return self._noted(made)
        missing = [table for table in tables if note.tables.get(table.name) != table.id]
        if missing:
            self._say(f"snapshot of {', '.join(table.name for table in missing)}: new in the publication, or made again")
            beside = wire.Replication(self._url)
            try:
                self._snapshot(beside, f"{SLOT}_{beside.process}", missing, temporary=True)
            finally:
                beside.close()
            ids, members = _ids(missing)
            note = self._noted(replace(note, tables=note.tables | ids, members=note.members | members))
        return note

    def _refuse_earlier(self, server: wire.Server) -> None:
        """Raise ServiceError when the server's log ends before positions of which the topics tell: what it writes would count as older."""
        # what this process saw acknowledged is known; of what was sent before it began the topics tell
        newest = self._state.confirmed or sent.newest_position(self._state.check)
        if server.position < newest:
            raise ServiceError(
                f"PostgreSQL's log is at {wire.lsn_text(server.position)}, the topics tell of changes up to {wire.lsn_text(newest)}: it is "
                "another server, or was restored to an earlier time. Stop capture and mirror, `rainbow stream forget`, then start them again"
            )

    def _snapshot(
        self, replication: wire.Replication, name: str, tables: Sequence[Published], *, temporary: bool = False
    ) -> snapshot.Position:
        state, began, before = self._state, time.monotonic(), self._state.snapshot_rows
        state.phase = "snapshot"
        exported = replication.create_slot(name, temporary=temporary, check=self._patient(began))
        with wire.connect(self._url) as connection:
            position = snapshot.take_in(connection, exported, name)
            taken = snapshot.Snapshot(self._outbox, position, self._side.info.dbname, state)
            taken.send(connection, tables, self._partitions)
        self._outbox.drain(state.check)
        state.snapshots += 1
        self._say(f"snapshot complete: {state.snapshot_rows - before:,} rows in {time.monotonic() - began:.1f} s")
        return position

    def _patient(self, since: float) -> Callable[[], None]:
        """A check that says what is waited for when it takes long."""

        def check() -> None:
            self._state.check()
            if time.monotonic() - since > _LONG:
                self._warn("the snapshot waits for transactions that are open to end; `select * from pg_stat_activity` shows them")

        return check

    def _noted(self, note: Note) -> Note:
        notes.write(self._outbox, note, self._state.check)
        return note

    def _follow(self, replication: wire.Replication, server: wire.Server, standing: Standing) -> None:
        state, outbox = self._state, self._outbox
        # what was sent before is acknowledged first, so that nothing older comes behind what is read again
        outbox.drain(state.check)
        if state.timeline != server.timeline:
            state.timeline, state.confirmed = server.timeline, 0
        replication.start(SLOT, catalog.PUBLICATION, state.confirmed, state.check)
        state.published = None
        # of what is not published any more, or not yet, the server sends nothing, without a word
        stream = self._stream = Stream(replication, outbox, state, lambda: state.published in (None, standing))
        if state.phase != "streaming":
            self._say(f"streaming from {wire.lsn_text(state.confirmed)}" if state.confirmed else "streaming")
        state.phase = "streaming"
        stream.run(Changes(self._side.info.dbname, outbox, self, stream.breathe))


def _why_anew(note: Note, found: Slot | None, server: wire.Server, database: str, publication: int) -> str | None:
    """Why the slot cannot go on from where it is; None when it can."""
    if found is None:
        return "the slot is gone"
    if found.lost:
        return "the server has removed log that the slot needed, see max_slot_wal_keep_size"
    if (note.system, note.database) != (server.system, database):
        return "this is another database than the one before"
    if note.publication != publication:
        return "the publication was made anew"
    return None


def _ids(tables: Sequence[Published]) -> tuple[dict[str, int], dict[str, int]]:
    return {table.name: table.id for table in tables}, {table.name: table.member for table in tables}
