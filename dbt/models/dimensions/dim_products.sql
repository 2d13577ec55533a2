-- One row a version of a product: what it was from valid_from_at to valid_to_at, with the names that its category and brand had.
-- depends_on: {{ ref('changed_files') }}
{{ config(
    materialized='restated',
    unique_key='product_key',
    existing=['versions', 'products', 'product_id'],
    cluster_by='product_id',
) }}
{%- set own = ['name', 'price', 'rating_average', 'review_count', 'sold_count', 'category_id', 'brand_id', 'seller_id'] -%}
{%- set types = {
    'name': 'string', 'price': 'numeric(18, 4)', 'rating_average': 'numeric(4, 2)', 'review_count': 'int64', 'sold_count': 'int64',
    'category_id': 'int64', 'category': 'string', 'brand_id': 'int64', 'brand': 'string', 'seller_id': 'int64',
} -%}
{%- set tracked = {} -%}
{%- set names = var('product_columns') + ['category_id', 'brand_id', 'seller_id'] -%}
{%- for name in names -%}{%- do tracked.update({name: types[name].split('(')[0]}) -%}{%- endfor %}

with {{ scd2_events('products', 'product_id', own) }},

spans as (
    select
        *,
        coalesce(
            lead(seen_at) over (partition by product_id order by {{ scd2_order(own) }}),
            timestamp '9999-12-31 00:00:00+00'
        ) as until_at
    from events
),

{% for label, table in [('category', 'categories'), ('brand', 'brands')] -%}
{{ label }}_last as (
    select {{ label }}_id, name, updated_at
    from {{ ref('stg_' ~ table) }}
    where not is_deleted
    qualify row_number() over (partition by {{ label }}_id, updated_at order by lsn desc, name desc) = 1
),

{{ label }}_names as (
    select
        {{ label }}_id,
        name,
        if(
            row_number() over (partition by {{ label }}_id order by updated_at) = 1,
            timestamp '0001-01-01 00:00:00+00',
            updated_at
        ) as from_at,
        coalesce(
            lead(updated_at) over (partition by {{ label }}_id order by updated_at),
            timestamp '9999-12-31 00:00:00+00'
        ) as until_at
    from {{ label }}_last
),

{% endfor -%}
in_category as (
    select
        s.* except (seen_at, until_at),
        c.name as category,
        greatest(s.seen_at, coalesce(c.from_at, s.seen_at)) as seen_at,
        least(s.until_at, coalesce(c.until_at, s.until_at)) as until_at
    from spans as s
    left join category_names as c
        on s.category_id = c.category_id
        and greatest(s.seen_at, c.from_at) < greatest(s.until_at, timestamp_add(s.seen_at, interval 1 microsecond))
        and s.seen_at < c.until_at
),

named as (
    select
        s.* except (seen_at, until_at),
        b.name as brand,
        greatest(s.seen_at, coalesce(b.from_at, s.seen_at)) as seen_at
    from in_category as s
    left join brand_names as b
        on s.brand_id = b.brand_id
        and greatest(s.seen_at, b.from_at) < greatest(s.until_at, timestamp_add(s.seen_at, interval 1 microsecond))
        and s.seen_at < b.until_at
),

{{ scd2_versions('named', 'product_key', 'product_id', types.keys() | list, tracked) }}
{{ scd2_placeholder(-1, 'Unknown', types) }}
