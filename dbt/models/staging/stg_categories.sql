-- One row an observation of a row of categories: what an extract saw, or that the row was deleted.
select
    id as category_id,
    name,
    created_at,
    updated_at,
    partition_date,
    _deleted as is_deleted,
    _lsn as lsn
from {{ source('raw', 'categories') }}
