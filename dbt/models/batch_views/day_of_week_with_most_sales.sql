-- One row a day with sales, and the weekday's name.
-- depends_on: {{ ref('touched_days') }} {{ ref('changed_files') }}
{{ config(
    materialized='restated',
    unique_key='sales_date',
    existing=['of', 'sales_date', 'touched_days', 'e.sales_date'],
    partition_by='date_trunc(sales_date, month)',
) }}

select
    sales_date,
    {{ day_name('sales_date') }} as day_of_week,
    {{ sums() }}
from {{ ref('touched_sales') }}
group by sales_date
