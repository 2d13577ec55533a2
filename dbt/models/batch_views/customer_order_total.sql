-- One row a customer with orders: the sums over all days.
{{ config(
    materialized='restated',
    unique_key='customer_id',
    existing=['all'],
) }}

select
    customer_id,
    sum(orders) as orders,
    sum(sales_quantity) as sales_quantity,
    cast(sum(total_sales_amount) as numeric(31, 2)) as total_sales_amount,
    cast(sum(total_discount_amount) as numeric(31, 2)) as total_discount_amount,
    cast(sum(net_sales_amount) as numeric(31, 2)) as net_sales_amount
from {{ ref('customer_ranking') }}
group by customer_id
