-- One row a version of a seller: what it was from valid_from_at to valid_to_at.
-- depends_on: {{ ref('changed_files') }}
{{ config(
    materialized='restated',
    unique_key='seller_key',
    existing=['versions', 'sellers', 'seller_id'],
    cluster_by='seller_id',
) }}

{{ scd2_dimension('sellers', 'seller_key', 'seller_id', {'name': 'string'}) }}
