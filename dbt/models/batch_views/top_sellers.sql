-- One row a day and seller.
-- depends_on: {{ ref('changed_files') }}
{{ config(
    materialized='restated',
    unique_key=['sales_date', 'seller_id'],
    existing=['of', 'sales_date', 'touched_days', 'e.sales_date'],
    partition_by='date_trunc(sales_date, month)',
) }}

{{ batch_view(
    ids=['seller_id'],
    names={'seller': ('sellers', 'seller_id')},
    orders=false,
) }}
