{#-
  SCD type 2: the versions of the touched members, from the instant on from which they may have changed.

  What came before that instant stands in the dimension itself: its version that was valid until then is the first event. So a
  day costs by its changes, and the result depends on the set of observations alone. See DESIGN, "History that can be trusted".
-#}

{#-
  Which of the dimension's rows are compared: those that were valid when the touched period began, which are worked out again as the
  first event, and later ones; where the dimension is made anew, also those of members that raw does not know. A row that lacks
  its id or its instants is nobody's: it goes.
-#}
{% macro existing_versions(dimension, id) -%}
    select e.*, true as in_scope
    from {{ this }} as e
    inner join {{ ref('touched_members') }} as m
        on m.dimension = '{{ dimension }}' and e.{{ id }} = m.member_id
    where e.valid_to_at is null
        or (e.valid_to_at >= m.from_at and e.valid_to_at >= (select min(from_at) from {{ ref('touched_members') }} where dimension = '{{ dimension }}'))
    union all
    select e.*, true as in_scope
    from {{ this }} as e
    inner join ({{ rebuilt(this.identifier) }}) as r on coalesce(e.valid_from, r.from_date) >= r.from_date
    where e.{{ id }} is null
        or (e.{{ id }} >= 0 and e.{{ id }} not in (select member_id from {{ ref('touched_members') }} where dimension = '{{ dimension }}'))
    union all
    select e.*, true as in_scope
    from {{ this }} as e
    where e.{{ id }} < 0
{%- endmacro %}


{#- Events of the touched members: the version valid before the period, then each observation in it. `columns`: the dimension's columns from the source's. -#}
{% macro scd2_events(dimension, id, columns) -%}
touched as (
    select member_id, from_at
    from {{ ref('touched_members') }}
    where dimension = '{{ dimension }}'
),

observed as (
    select
        e.{{ id }}, e.valid_from_at as seen_at, -1 as lsn, false as is_deleted,
        {% for column in columns %}e.{{ column }}{{ ', ' if not loop.last }}{% endfor %}
    from {{ this }} as e
    inner join touched on e.{{ id }} = touched.member_id
    where e.valid_from_at < touched.from_at and e.valid_to_at >= touched.from_at
        and e.valid_to_at >= (select min(from_at) from touched)
    union all
    select
        o.{{ id }}, o.updated_at as seen_at, o.lsn, o.is_deleted,
        {% for column in columns %}o.{{ column }}{{ ', ' if not loop.last }}{% endfor %}
    from {{ ref('stg_' ~ dimension) }} as o
    inner join touched on o.{{ id }} = touched.member_id
    where o.updated_at >= touched.from_at
        and o.partition_date >= (select extract(date from min(from_at)) from touched)
),

{#- the same content at the same instant, seen again, is one event -#}
events as (
    select *
    from observed
    qualify row_number() over (
        partition by {{ id }}, seen_at, is_deleted, {{ columns | join(', ') }}
        order by lsn desc
    ) = 1
)
{%- endmacro %}


{#-
  The order of a member's events: time, then the extract's position, a delete before the return. What one extract saw in two states
  at one instant, which only a source without keys has, is ordered by content, so that the result is the same in any order.
-#}
{% macro scd2_order(columns) -%}
    seen_at, lsn, is_deleted desc, {{ columns | join(', ') }}
{%- endmacro %}


{#- Versions from events: no change gives no version, a delete ends one, a return begins a new one. -#}
{% macro scd2_versions(events, key, id, columns, tracked) -%}
hashed as (
    select *, {{ content_hash(tracked) }} as content
    from {{ events }}
),

compared as (
    select
        *,
        lag(content) over (partition by {{ id }} order by {{ scd2_order(columns) }}) as content_before,
        lag(is_deleted) over (partition by {{ id }} order by {{ scd2_order(columns) }}) as was_deleted
    from hashed
),

bounds as (
    select
        *,
        lead(seen_at) over (partition by {{ id }} order by {{ scd2_order(columns) }}) as ends_at
    from compared
    where (is_deleted and not was_deleted)
        or (not is_deleted and (was_deleted is null or was_deleted or content != content_before))
)

select
    {{ surrogate_key(id, 'seen_at', 'content') }} as {{ key }},
    {{ id }},
    {% for column in columns %}{{ column }},
    {% endfor -%}
    extract(date from seen_at) as valid_from,
    coalesce(extract(date from ends_at), date '2100-01-01') as valid_to,
    seen_at as valid_from_at,
    coalesce(ends_at, timestamp '2100-01-01 00:00:00+00') as valid_to_at,
    ends_at is null as is_current
from bounds
where not is_deleted
{%- endmacro %}


{#- A row that stands for a member that is not known, or for none. -#}
{% macro scd2_placeholder(key, name, columns) -%}
union all
select
    {{ key }}, {{ key }},
    {% for column, type in columns.items() %}{% if column == 'name' %}'{{ name }}'{% else %}cast(null as {{ type }}){% endif %}, {% endfor %}
    date '1990-01-01', date '2100-01-01', timestamp '1990-01-01 00:00:00+00', timestamp '2100-01-01 00:00:00+00', true
{%- endmacro %}


{#- A dimension whose members are the rows of one source table. `columns` maps names to GoogleSQL types; all of them are tracked. -#}
{% macro scd2_dimension(dimension, key, id, columns, placeholder_for_none=none) -%}
{%- set names = columns.keys() | list -%}
{%- set tracked = {} -%}
{%- for name, type in columns.items() -%}{%- do tracked.update({name: type.split('(')[0]}) -%}{%- endfor -%}
with {{ scd2_events(dimension, id, names) }},

{{ scd2_versions('events', key, id, names, tracked) }}
{{ scd2_placeholder(-1, 'Unknown', columns) }}
{%- if placeholder_for_none %}
{{ scd2_placeholder(-2, placeholder_for_none, columns) }}
{%- endif %}
{%- endmacro %}
