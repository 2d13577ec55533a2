-- One row a version of a customer: what it was from valid_from_at to valid_to_at.
-- depends_on: {{ ref('changed_files') }}
{{ config(
    materialized='restated',
    unique_key='customer_key',
    existing=['versions', 'customers', 'customer_id'],
    cluster_by='customer_id',
) }}

{{ scd2_dimension('customers', 'customer_key', 'customer_id', {'name': 'string'}) }}
