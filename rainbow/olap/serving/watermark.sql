select
    name as view,
    toDate32(JSONExtractString(comment, 'first_partition')) as first_partition,
    toDate32OrNull(JSONExtractString(comment, 'watermark_date')) as watermark_date,
    JSONExtractString(comment, 'snapshot') as snapshot,
    JSONExtractInt(comment, 'snapshot_xmin') as snapshot_xmin,
    JSONExtractInt(comment, 'lsn') as lsn,
    parseDateTime64BestEffort(JSONExtractString(comment, 'published_at'), 6, 'UTC') as published_at
from system.tables
where database = 'batch' and comment != ''
