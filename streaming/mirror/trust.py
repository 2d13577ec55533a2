"""Whether the client that the mirror reads with is still to be trusted.

librdkafka has been seen to go wrong in silence when a broker comes back: a partition has records and brings none (its issue 4492), records
are left out, a member stays outside of its group. A client of which that is seen is exchanged for another, by the mirror; what was not
committed is read again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress

from confluent_kafka import Consumer, KafkaException, TopicPartition

from streaming.mirror.batch import Batch
from streaming.mirror.gaps import Gap, GapReader, Partition, placed
from streaming.mirror.writer import FIRST_PAUSE, PASSING
from streaming.progress import Offsets, Positions

log = logging.getLogger("rainbow.mirror")

# seconds for which a partition may bring nothing before it is looked at, and between two looks; partitions of a look; seconds of a request
STANDSTILL, LOOK, AT_A_LOOK, REQUEST = 15.0, 5.0, 3, 2.0
# seconds for which a mirror without a partition sees the group commit nothing, though there is something
LEFT_OUT = 30.0
# seconds for which the broker may not tell what is in a gap
UNSURE = 8.0


class Trust:
    """What speaks against one client. All but ``look_at_group`` is for the thread that reads with it."""

    def __init__(self, client: Consumer) -> None:
        #: Why the client has to be exchanged; empty as long as nothing speaks against it.
        self.lost = ""
        self._client = client
        # when each partition last brought something, or was found to have nothing more
        self._moved: dict[Partition, float] = {}
        # at which offset a partition had more and brought nothing
        self._suspected: dict[Partition, int] = {}
        self._looked = time.monotonic()
        # while the mirror has no partition: what the group had committed, and since when
        self._group: tuple[Positions, float] | None = None
        self._gaps = GapReader()
        self._unsure_since: float | None = None

    def close(self) -> None:
        """Leave the broker; the client itself stays as it is."""
        self._gaps.close()

    def note_progress(self, partitions: Collection[Partition]) -> None:
        """These partitions have brought something."""
        self._moved.update(dict.fromkeys(partitions, time.monotonic()))

    def forget(self, partitions: Collection[Partition]) -> None:
        """These partitions are another mirror's."""
        for partition in partitions:
            self._moved.pop(partition, None)
            self._suspected.pop(partition, None)

    @property
    def is_look_due(self) -> bool:
        """Whether the partitions are to be looked at once more."""
        return time.monotonic() - self._looked > LOOK

    def look_at_partitions(self, owned: Collection[Partition], expected: Mapping[Partition, int]) -> list[Gap]:
        """See, if that is due, whether a partition has records and brings none; ``expected`` tells where those that were read go on.

        Returns the gaps behind which there is no record that would tell of them: all that was still to be read has expired. To be called
        while no record is on its way through the mirror.
        """
        if not self.is_look_due:
            return []
        now = self._looked = time.monotonic()
        expired = []
        quiet = sorted((self._moved.get(place, 0.0), place) for place in owned)
        for place in [place for moved, place in quiet[:AT_A_LOOK] if now - moved > STANDSTILL]:
            with suppress(*PASSING):
                first, end = self._client.get_watermark_offsets(TopicPartition(*place), timeout=REQUEST)
                offset = expected.get(place)
                if offset is None:
                    offset = self._committed(place)
                if offset < end and first == end:
                    expired.append(Gap(place, offset, end))
                elif offset < end and self._suspected.get(place) != offset:
                    # looked at once more: what has just come may be on its way
                    self._suspected[place] = offset
                    continue
                elif offset < end and self._gaps.left_out([Gap(place, offset, end)], REQUEST):
                    self.lost = f"{place[0]}/{place[1]} stands still at offset {offset}"
                    break
                self._moved[place] = now
        return expired

    def _committed(self, place: Partition) -> int:
        """The group's offset, 0 when it has none. Raises KafkaException when the broker does not tell."""
        (found,) = self._client.committed([TopicPartition(*place)], timeout=REQUEST)
        if found.error:
            raise KafkaException(found.error)
        return max(found.offset, 0)

    def look_at_group(self, offsets: Offsets, owned: Collection[Partition], subscribed: Sequence[str]) -> None:
        """See whether a mirror without a partition is left out: nobody brings in what there is.

        Raises what ``offsets`` raises when the broker does not tell.
        """
        if owned or not subscribed:
            self._group = None
            return
        ends = offsets.ends(subscribed)
        committed = offsets.committed(ends)
        if all(committed.get(place, 0) >= end for place, end in ends.items()) or self._group is None or self._group[0] != committed:
            self._group = committed, time.monotonic()
        elif time.monotonic() - self._group[1] > LEFT_OUT:
            self.lost = "the group stands still, and has no partition for this mirror"

    def is_whole(self, batch: Batch) -> bool:
        """Whether the client left no record out of a batch, as far as gaps between offsets show; partitions where it did leave the batch.

        False as long as the broker does not tell, too; a partition of which it does not for long is taken for one with records left out.
        """
        if not batch.gaps:
            return True
        try:
            batch.gaps = placed(batch.gaps, self._client, REQUEST)
            doubtful = self._gaps.left_out(batch.gaps, REQUEST) if batch.gaps else set()
            why = "the client left out records of {}/{}"
        except PASSING as error:
            began = self._unsure_since = self._unsure_since or time.monotonic()
            if time.monotonic() - began < UNSURE:
                log.debug("gaps: %s", error)
                time.sleep(FIRST_PAUSE)
                return False
            doubtful, why = {gap.partition for gap in batch.gaps}, "it cannot be told whether records of {}/{} were left out"
        self._unsure_since = None
        if doubtful:
            self.lost = why.format(*min(doubtful))
            batch.give_up(doubtful)
        return True
