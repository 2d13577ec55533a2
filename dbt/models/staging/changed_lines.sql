-- One row an order line that this run may change, and the day it was counted on when the last transform finished.
-- A line is the version of it that an extract saw last, whatever its updated_at. Where the fact is made anew from a day on, every
-- line that may belong to the days from then on is among them.
{{ config(materialized='table', tags=['control']) }}

with changed_orders as (
    select distinct r.id as order_id
    from {{ changed_rows('orders') }}
),

lines as (
    select r.id as order_detail_id
    from {{ changed_rows('orderdetails') }}
    union distinct
    select l.id as order_detail_id
    from {{ source('raw', 'orderdetails') }} as l
    inner join changed_orders on l.order_id = changed_orders.order_id
    union distinct
    select l.id as order_detail_id
    from {{ source('raw', 'orderdetails') }} as l
    cross join ({{ rebuilt('fact_sales') }}) as rebuilt
    left join {{ source('raw', 'orders') }} as o on l.order_id = o.id
    where l.partition_date >= rebuilt.from_date
        or extract(date from l.created_at) >= rebuilt.from_date
        or extract(date from o.created_at) >= rebuilt.from_date
),

lines_before as (
    select l.id as order_detail_id, l.order_id, l.created_at, l._deleted as is_deleted
    from {{ source('raw', 'orderdetails') }} as l
    inner join lines on l.id = lines.order_detail_id
    left join {{ ref('changed_files') }} as f
        on f.table_name = 'orderdetails' and l.partition_date = f.partition_date and l._lsn = f.lsn
    where f.lsn is null
    qualify row_number()
            over (
                partition by l.id
                order by {{ last_seen('l', ['created_at', 'order_id', 'product_id', 'promotion_id', 'quantity', 'price', 'amount', 'discount']) }}
            )
        = 1
),

orders_before as (
    select o.id as order_id, o.created_at, o._deleted as is_deleted
    from {{ source('raw', 'orders') }} as o
    left join {{ ref('changed_files') }} as f
        on f.table_name = 'orders' and o.partition_date = f.partition_date and o._lsn = f.lsn
    where f.lsn is null
        and o.id in (select order_id from lines_before)
    qualify row_number() over (partition by o.id order by {{ last_seen('o', ['created_at', 'customer_id', 'payment_id']) }}) = 1
)

select
    lines.order_detail_id,
    extract(date from coalesce(orders_before.created_at, lines_before.created_at)) as old_day
from lines
left join lines_before
    on lines.order_detail_id = lines_before.order_detail_id and not lines_before.is_deleted
left join orders_before
    on lines_before.order_id = orders_before.order_id and not orders_before.is_deleted
