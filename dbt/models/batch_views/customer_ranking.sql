-- One row a day and customer.
{{ config(
    materialized='restated',
    unique_key=['sales_date', 'customer_id'],
    existing=['of', 'sales_date', 'touched_days'],
    partition_by='date_trunc(sales_date, month)',
) }}

{{ batch_view(
    ids=['customer_id'],
    names={'customer': ('customers', 'customer_id')},
    orders=true,
) }}
