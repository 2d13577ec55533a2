-- One row an observation of a row of inventories: what an extract saw, or that the row was deleted.
select
    id as inventory_id,
    product_id,
    quantity,
    created_at,
    updated_at,
    partition_date,
    _deleted as is_deleted,
    _lsn as lsn
from {{ source('raw', 'inventories') }}
