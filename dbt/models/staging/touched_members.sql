-- One row a member of a dimension whose versions may have changed, with the instant from which on they may.
-- A product is also touched by a new name of its category or brand; the first name known counts for the time before it. A dimension
-- that is made anew has all of its members touched.
{{ config(materialized='table', tags=['control']) }}

with names as (
    select 'category' as label, r.id as label_id, r.updated_at
    from {{ changed_rows('categories') }}
    union all
    select 'brand' as label, r.id as label_id, r.updated_at
    from {{ changed_rows('brands') }}
),

first_names as (
    select 'category' as label, id as label_id, min(updated_at) as first_at
    from {{ source('raw', 'categories') }}
    group by id
    union all
    select 'brand' as label, id as label_id, min(updated_at) as first_at
    from {{ source('raw', 'brands') }}
    group by id
),

renamed as (
    select
        names.label,
        names.label_id,
        min(if(names.updated_at = first_names.first_at, timestamp '0001-01-01 00:00:00+00', names.updated_at)) as from_at
    from names
    inner join first_names on names.label = first_names.label and names.label_id = first_names.label_id
    group by names.label, names.label_id
),

touched as (
    {% for table in ['customers', 'sellers', 'promotions', 'payments', 'products', 'categories', 'brands'] -%}
    select '{{ table }}' as dimension, r.id as member_id, r.updated_at as from_at
    from {{ changed_rows(table) }}
    union all
    {% endfor -%}
    select 'products' as dimension, p.id as member_id, renamed.from_at
    from {{ source('raw', 'products') }} as p
    inner join renamed on renamed.label = 'category' and p.category_id = renamed.label_id
    union all
    select 'products' as dimension, p.id as member_id, renamed.from_at
    from {{ source('raw', 'products') }} as p
    inner join renamed on renamed.label = 'brand' and p.brand_id = renamed.label_id
    {% for table in ['customers', 'sellers', 'promotions', 'payments', 'products'] -%}
    union all
    select '{{ table }}' as dimension, r.id as member_id, timestamp(rebuilt.from_date) as from_at
    from {{ source('raw', table) }} as r
    cross join ({{ rebuilt('dim_' ~ table) }}) as rebuilt
    {% endfor %}
)

select dimension, member_id, min(from_at) as from_at
from touched
group by dimension, member_id
