-- One row an order line as the source has it, with its order; an order that is not there leaves customer and payment empty.
-- depends_on: {{ ref('changed_files') }}
{{ config(
    materialized='restated',
    unique_key='order_detail_id',
    existing=['of', 'order_detail_id', 'changed_lines', 'e.ordered_on', 'fact_sales'],
    partition_by='ordered_on',
    cluster_by='product_id',
) }}

with lines as (
    select l.*
    from {{ source('raw', 'orderdetails') }} as l
    where l.id in (select order_detail_id from {{ ref('changed_lines') }})
    qualify row_number()
            over (
                partition by l.id
                order by {{ last_seen('l', ['created_at', 'order_id', 'product_id', 'promotion_id', 'quantity', 'price', 'amount', 'discount']) }}
            )
        = 1
),

orders as (
    select o.*
    from {{ source('raw', 'orders') }} as o
    where o.id in (select order_id from lines)
    qualify row_number() over (partition by o.id order by {{ last_seen('o', ['created_at', 'customer_id', 'payment_id']) }}) = 1
)

select
    lines.id as order_detail_id,
    lines.order_id,
    lines.product_id,
    lines.promotion_id,
    orders.customer_id,
    orders.payment_id,
    lines.quantity,
    lines.price,
    lines.amount,
    lines.discount,
    coalesce(orders.created_at, lines.created_at) as ordered_at,
    extract(date from coalesce(orders.created_at, lines.created_at)) as ordered_on
from lines
left join orders on lines.order_id = orders.id and not orders._deleted
where not lines._deleted
