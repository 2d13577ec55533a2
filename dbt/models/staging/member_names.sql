-- One row a member: the name it has now, or had last.
{{ config(
    materialized='restated',
    unique_key=['dimension', 'member_id'],
) }}

with observed as (
    {% for dimension in ['customers', 'sellers', 'payments', 'products', 'categories'] -%}
    select '{{ dimension }}' as dimension, r.id as member_id, r.name, r.updated_at, r._lsn as lsn
    from {{ source('raw', dimension) }} as r
    inner join {{ ref('touched_members') }} as m
        on m.dimension = '{{ dimension }}' and r.id = m.member_id
    where not r._deleted and r.updated_at >= m.from_at
    {{ 'union all' if not loop.last }}
    {% endfor %}
)

select dimension, member_id, name
from observed
qualify row_number() over (partition by dimension, member_id order by updated_at desc, lsn desc, name desc) = 1
