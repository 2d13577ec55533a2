-- One row an order line of a touched day, with what its product was at the sale; what the batch views sum.
-- The views hold no day before the first partition that was ever run.
{{ config(materialized='table') }}

select
    extract(date from f.ordered_at) as sales_date,
    f.order_id,
    coalesce(p.product_id, -1) as product_id,
    coalesce(p.category_id, -1) as category_id,
    coalesce(p.seller_id, -1) as seller_id,
    coalesce(c.customer_id, -1) as customer_id,
    coalesce(m.payment_id, -1) as payment_id,
    f.sales_quantity,
    f.extended_sales_amount,
    f.extended_discount_amount,
    f.net_sales_amount
from {{ ref('fact_sales') }} as f
left join {{ ref('dim_products') }} as p on f.product_key = p.product_key
left join {{ ref('dim_customers') }} as c on f.customer_key = c.customer_key
left join {{ ref('dim_payments') }} as m on f.payment_key = m.payment_key
where extract(date from f.ordered_at) in (select sales_date from {{ ref('touched_days') }})
    and extract(date from f.ordered_at) >= (select min(first_date) from {{ source('raw', 'lake_manifests') }})
