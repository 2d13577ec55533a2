-- One row an observation of a row of promotions: what an extract saw, or that the row was deleted.
select
    id as promotion_id,
    name,
    coupon_type,
    price_treatment,
    created_at,
    updated_at,
    partition_date,
    _deleted as is_deleted,
    _lsn as lsn
from {{ source('raw', 'promotions') }}
