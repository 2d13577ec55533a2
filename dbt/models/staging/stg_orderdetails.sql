-- One row an observation of a row of orderdetails: what an extract saw, or that the row was deleted.
select
    id as order_detail_id,
    order_id,
    product_id,
    promotion_id,
    quantity,
    price,
    amount,
    discount,
    created_at,
    updated_at,
    partition_date,
    _deleted as is_deleted,
    _lsn as lsn
from {{ source('raw', 'orderdetails') }}
