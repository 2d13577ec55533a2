-- One row a day and payment method.
-- depends_on: {{ ref('changed_files') }}
{{ config(
    materialized='restated',
    unique_key=['sales_date', 'payment_id'],
    existing=['of', 'sales_date', 'touched_days', 'e.sales_date'],
    partition_by='date_trunc(sales_date, month)',
) }}

{{ batch_view(
    ids=['payment_id'],
    names={'payment_method': ('payments', 'payment_id')},
    orders=true,
) }}
