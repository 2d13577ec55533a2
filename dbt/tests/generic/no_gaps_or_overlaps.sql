{#-
  Versions of a member that overlap, end before they begin, or leave out a time in which the member lived.

  `observations` is the staging model of what extracts saw of the members: their id, updated_at, is_deleted, lsn. With it, the
  first version has to begin with what was seen first, and a gap, or an end, needs a delete at its very beginning and no sign of
  life until it is over. Negative ids stand for no member. Returns the versions at fault, and what the fault is.
-#}
{% test no_gaps_or_overlaps(model, member, observations=none) %}
with neighbours as (
    select
        {{ member }},
        valid_from_at,
        valid_to_at,
        is_current,
        lag(valid_to_at) over (partition by {{ member }} order by valid_from_at, valid_to_at) as previous_to_at,
        lead(valid_from_at) over (partition by {{ member }} order by valid_from_at, valid_to_at) as next_from_at
    from {{ model }}
),

{% if observations -%}
ended as (
    select
        {{ member }},
        valid_from_at,
        valid_to_at,
        is_current,
        next_from_at,
        coalesce(next_from_at, timestamp '2100-01-01 00:00:00+00') as gap_to_at
    from neighbours
    where valid_to_at < coalesce(next_from_at, timestamp '2100-01-01 00:00:00+00')
),

seen_in_gap as (
    select
        ended.{{ member }},
        ended.valid_from_at,
        ended.valid_to_at,
        ended.is_current,
        ended.next_from_at,
        countif(seen.is_deleted and seen.updated_at = ended.valid_to_at) as deletes,
        countif(not seen.is_deleted and seen.updated_at > ended.valid_to_at) as lives
    from ended
    left join {{ observations }} as seen
        on ended.{{ member }} = seen.{{ member }}
        and seen.updated_at >= ended.valid_to_at
        and seen.updated_at < ended.gap_to_at
    group by ended.{{ member }}, ended.valid_from_at, ended.valid_to_at, ended.is_current, ended.next_from_at
),

first_seen as (
    select {{ member }}, min(updated_at) as first_at
    from {{ observations }}
    where not is_deleted
    group by {{ member }}
),

first_versions as (
    select {{ member }}, valid_from_at, valid_to_at, is_current, next_from_at
    from neighbours
    where previous_to_at is null
),

{% endif -%}
faults as (
    select
        {{ member }},
        valid_from_at,
        valid_to_at,
        is_current,
        next_from_at,
        case
            when valid_from_at > valid_to_at then 'ends before it begins'
            when next_from_at < valid_to_at then 'overlaps the next'
            else 'is_current does not say whether it ends'
        end as fault
    from neighbours
    where valid_from_at > valid_to_at
        or next_from_at < valid_to_at
        or is_current != (valid_to_at = timestamp '2100-01-01 00:00:00+00')
{%- if observations %}
    union all
    select
        {{ member }},
        valid_from_at,
        valid_to_at,
        is_current,
        next_from_at,
        if(deletes = 0, 'ends and nothing was deleted', 'ends though the member was seen again') as fault
    from seen_in_gap
    where deletes = 0 or lives > 0
    union all
    select
        s.{{ member }},
        v.valid_from_at,
        v.valid_to_at,
        v.is_current,
        v.next_from_at,
        if(v.{{ member }} is null, 'has no version', 'does not begin when the member was first seen') as fault
    from first_seen as s
    left join first_versions as v on s.{{ member }} = v.{{ member }}
    where v.{{ member }} is null or v.valid_from_at != s.first_at
    {%- endif %}
)

select *
from faults
{% endtest %}
