-- One row a version of a payment: what it was from valid_from_at to valid_to_at.
-- depends_on: {{ ref('changed_files') }}
{{ config(
    materialized='restated',
    unique_key='payment_key',
    existing=['versions', 'payments', 'payment_id'],
    cluster_by='payment_id',
) }}

{{ scd2_dimension('payments', 'payment_key', 'payment_id', {'name': 'string'}) }}
