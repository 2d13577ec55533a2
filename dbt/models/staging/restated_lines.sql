-- One row an order line that the fact works out anew: a changed line, or one whose member has other versions at the time of the sale.
{{ config(materialized='table', tags=['control']) }}

with touched as (
    {% for dimension in ['customers', 'promotions', 'payments', 'products', 'sellers'] -%}
    {%- set id = dimension[:-1] ~ '_id' -%}
    select m.dimension, m.member_id, if(count(v.{{ id }}) = 0, timestamp '0001-01-01 00:00:00+00', min(m.from_at)) as from_at
    from {{ ref('touched_members') }} as m
    left join {{ ref('dim_' ~ dimension) }} as v on m.member_id = v.{{ id }} and v.valid_from_at < m.from_at and v.valid_to_at >= m.from_at
    where m.dimension = '{{ dimension }}'
    group by m.dimension, m.member_id
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

touched_products as (
    select member_id as product_id, from_at
    from touched
    where dimension = 'products'
    union all
    select v.product_id, touched.from_at
    from touched
    inner join {{ ref('dim_products') }} as v on v.seller_id = touched.member_id
    where touched.dimension = 'sellers'
),

first_touched as (
    select product_id, min(from_at) as from_at
    from touched_products
    group by product_id
),

by_member as (
    select l.order_detail_id
    from {{ ref('sales_lines') }} as l
    inner join first_touched as m on l.product_id = m.product_id and l.ordered_at >= m.from_at
    where l.ordered_on >= (select extract(date from min(from_at)) from touched_products)
    {% for dimension, id in [('customers', 'customer_id'), ('promotions', 'promotion_id'), ('payments', 'payment_id')] -%}
    union distinct
    select l.order_detail_id
    from {{ ref('sales_lines') }} as l
    inner join touched as m on m.dimension = '{{ dimension }}' and l.{{ id }} = m.member_id and l.ordered_at >= m.from_at
    where l.ordered_on >= (select extract(date from min(from_at)) from touched where dimension = '{{ dimension }}')
    {% endfor %}
)

select order_detail_id
from by_member
union distinct
select order_detail_id
from {{ ref('changed_lines') }}
