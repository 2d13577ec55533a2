-- One row an observation of a row of orders: what an extract saw, or that the row was deleted.
select
    id as order_id,
    customer_id,
    payment_id,
    created_at,
    updated_at,
    partition_date,
    _deleted as is_deleted,
    _lsn as lsn
from {{ source('raw', 'orders') }}
