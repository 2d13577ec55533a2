-- One row an order line, each joined to the version of its members that was valid when the order was placed.
-- depends_on: {{ ref('changed_files') }}
{{ config(
    materialized='restated',
    unique_key='order_detail_id',
    existing=['of', 'order_detail_id', 'restated_lines', 'extract(date from e.ordered_at)'],
    partition_by='timestamp_trunc(ordered_at, day)',
    cluster_by='product_key',
) }}

with lines as (
    select l.*
    from {{ ref('sales_lines') }} as l
    where l.order_detail_id in (select order_detail_id from {{ ref('restated_lines') }})
),

{{ as_of('product_versions', 'lines', 'dim_products', 'product_key', 'product_id') }},

sold_by as (
    select l.order_detail_id, l.ordered_at, p.seller_id
    from lines as l
    inner join product_versions as v on l.order_detail_id = v.order_detail_id
    inner join {{ ref('dim_products') }} as p on v.product_key = p.product_key
),

{{ as_of('seller_versions', 'sold_by', 'dim_sellers', 'seller_key', 'seller_id') }},

{{ as_of('customer_versions', 'lines', 'dim_customers', 'customer_key', 'customer_id') }},

{{ as_of('promotion_versions', 'lines', 'dim_promotions', 'promotion_key', 'promotion_id') }},

{{ as_of('payment_versions', 'lines', 'dim_payments', 'payment_key', 'payment_id') }}

select
    l.order_detail_id,
    l.order_id,
    extract(year from l.ordered_on) * 10000 + extract(month from l.ordered_on) * 100 + extract(day from l.ordered_on) as date_key,
    coalesce(c.customer_key, -1) as customer_key,
    coalesce(p.product_key, -1) as product_key,
    coalesce(s.seller_key, -1) as seller_key,
    if(l.promotion_id is null, -2, coalesce(o.promotion_key, -1)) as promotion_key,
    coalesce(m.payment_key, -1) as payment_key,
    l.ordered_at,
    l.quantity as sales_quantity,
    l.price as regular_unit_price,
    {{ per_piece('l.discount', 'l.quantity') }} as discount_unit_price,
    cast(l.price - {{ per_piece('l.discount', 'l.quantity') }} as numeric(18, 4)) as net_unit_price,
    l.amount as extended_sales_amount,
    l.discount as extended_discount_amount,
    cast(l.amount - l.discount as numeric(18, 2)) as net_sales_amount
from lines as l
left join customer_versions as c on l.order_detail_id = c.order_detail_id
left join product_versions as p on l.order_detail_id = p.order_detail_id
left join seller_versions as s on l.order_detail_id = s.order_detail_id
left join promotion_versions as o on l.order_detail_id = o.order_detail_id
left join payment_versions as m on l.order_detail_id = m.order_detail_id
