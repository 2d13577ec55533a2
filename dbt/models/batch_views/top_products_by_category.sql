-- One row a day, category and product.
-- depends_on: {{ ref('changed_files') }}
{{ config(
    materialized='restated',
    unique_key=['sales_date', 'category_id', 'product_id'],
    existing=['of', 'sales_date', 'touched_days', 'e.sales_date'],
    partition_by='date_trunc(sales_date, month)',
) }}

{{ batch_view(
    ids=['category_id', 'product_id'],
    names={'category': ('categories', 'category_id'), 'product': ('products', 'product_id')},
    orders=false,
) }}
