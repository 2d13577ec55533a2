-- One row a day with sales.
-- depends_on: {{ ref('touched_days') }} {{ ref('changed_files') }}
{{ config(
    materialized='restated',
    unique_key='sales_date',
    existing=['of', 'sales_date', 'touched_days', 'e.sales_date'],
    partition_by='date_trunc(sales_date, month)',
) }}

select
    sales_date,
    count(distinct order_id) as orders,
    {{ sums() }}
from {{ ref('touched_sales') }}
group by sales_date
