-- One row an observation of a row of products: what an extract saw, or that the row was deleted.
select
    id as product_id,
    name,
    price,
    original_price,
    rating_average,
    review_count,
    sold_count,
    category_id,
    seller_id,
    brand_id,
    promotion_id,
    created_at,
    updated_at,
    partition_date,
    _deleted as is_deleted,
    _lsn as lsn
from {{ source('raw', 'products') }}
