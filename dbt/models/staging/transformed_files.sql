-- One row a file of the lake that a finished transform has worked in; written last, so that a run that was cut short is done again.
-- depends_on: {{ ref('customer_order_total') }} {{ ref('total_sales') }} {{ ref('day_of_week_with_most_sales') }}
-- depends_on: {{ ref('top_sellers') }} {{ ref('top_products_by_category') }} {{ ref('payment_methods') }} {{ ref('customer_ranking') }}
{{ config(
    materialized='restated',
    unique_key=['table_name', 'partition_date', 'lsn'],
    tags=['control'],
) }}

select table_name, partition_date, lsn
from {{ ref('changed_files') }}
