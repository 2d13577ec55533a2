-- One row a version of a promotion: what it was from valid_from_at to valid_to_at.
-- depends_on: {{ ref('changed_files') }}
{{ config(
    materialized='restated',
    unique_key='promotion_key',
    existing=['versions', 'promotions', 'promotion_id'],
    cluster_by='promotion_id',
) }}
{%- set columns = {'name': 'string', 'coupon_type': 'string', 'price_treatment': 'numeric(18, 4)'} %}

{{ scd2_dimension('promotions', 'promotion_key', 'promotion_id', columns, placeholder_for_none='No promotion') }}
