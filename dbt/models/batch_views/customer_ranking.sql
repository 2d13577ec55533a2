-- One row a day and customer.
-- depends_on: {{ ref('changed_files') }}
{{ config(
    materialized='restated',
    unique_key=['sales_date', 'customer_id'],
    existing=['of', 'sales_date', 'touched_days', 'e.sales_date'],
    partition_by='date_trunc(sales_date, month)',
) }}

{{ batch_view(
    ids=['customer_id'],
    names={'customer': ('customers', 'customer_id')},
    orders=true,
) }}
