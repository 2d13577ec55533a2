{#-
  Members with more than one current version; and with `observations`, live members without one, and members with one that are
  deleted or were never seen.

  `observations` is the staging model of what extracts saw of the members: their id, updated_at, is_deleted, lsn; the last in
  time, then in the extract's position, says whether a member lives. Negative ids stand for no member. Returns the members, how
  many current versions they have, and what the fault is.
-#}
{% test one_current_row(model, member, observations=none) %}
with counted as (
    select {{ member }}, count(*) as current_rows
    from {{ model }}
    where is_current
    group by {{ member }}
),

{% if observations -%}
ever_deleted as (
    select {{ member }}
    from {{ observations }}
    where is_deleted
    group by {{ member }}
),

last_seen as (
    select o.{{ member }}, o.is_deleted
    from {{ observations }} as o
    inner join ever_deleted on o.{{ member }} = ever_deleted.{{ member }}
    qualify row_number() over (partition by o.{{ member }} order by o.updated_at desc, o.lsn desc, o.is_deleted) = 1
),

members as (
    select o.{{ member }}, coalesce(logical_or(last_seen.is_deleted), false) as is_deleted
    from (select distinct {{ member }} from {{ observations }}) as o
    left join last_seen on o.{{ member }} = last_seen.{{ member }}
    group by o.{{ member }}
),

{% endif -%}
faults as (
    select {{ member }}, current_rows, 'more than one current version' as fault
    from counted
    where current_rows > 1
{%- if observations %}
    union all
    select
        coalesce(m.{{ member }}, c.{{ member }}) as {{ member }},
        coalesce(c.current_rows, 0) as current_rows,
        case
            when m.{{ member }} is null then 'current, and never seen'
            when m.is_deleted then 'current, and deleted'
            else 'lives, and has no current version'
        end as fault
    from members as m
    full outer join counted as c on m.{{ member }} = c.{{ member }}
    where (m.{{ member }} is null and c.{{ member }} >= 0)
        or (m.is_deleted and c.current_rows > 0)
        or (not m.is_deleted and c.current_rows is null)
    {%- endif %}
)

select *
from faults
{% endtest %}
