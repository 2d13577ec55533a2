{#- Versions of a member that overlap, or whose range ends before it begins; gaps are only where the member was deleted. Returns the versions at fault. -#}
{% test no_gaps_or_overlaps(model, member) %}
with neighbours as (
    select
        {{ member }},
        valid_from_at,
        valid_to_at,
        is_current,
        lead(valid_from_at) over (partition by {{ member }} order by valid_from_at, valid_to_at) as next_from_at
    from {{ model }}
)

select *
from neighbours
where valid_from_at > valid_to_at
    or next_from_at < valid_to_at
    or is_current != (valid_to_at = timestamp '2100-01-01 00:00:00+00')
{% endtest %}
